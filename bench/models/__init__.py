"""Networks by name: `build("resnet8x4", 100)(images)` are its `Features`.

The 22 CIFAR networks of the field live here, one family a file; `timm:<name>` and
`torchvision:<name>` are any network of those libraries; plugins add their own.
"""

from collections.abc import Callable, Mapping

from torch import nn

from bench.errors import BenchError, unknown
from bench.models import bottleneck, mobilenet, resnet, shufflenet, shufflenet_v2, vgg, wide_resnet
from bench.models.measure import Cost, cost, shapes
from bench.models.outside import LIBRARIES, Outside

__all__ = ["Builder", "Cost", "build", "cost", "names", "shapes"]

Builder = Callable[[int], nn.Module]

_own: dict[str, Builder] = {
    **resnet.NETWORKS,
    **wide_resnet.NETWORKS,
    **vgg.NETWORKS,
    **bottleneck.NETWORKS,
    **mobilenet.NETWORKS,
    **shufflenet.NETWORKS,
    **shufflenet_v2.NETWORKS,
}


def names() -> list[str]:
    """Return the sorted names of this package's networks; timm and torchvision have more."""
    return sorted(_own)


def build(
    name: str, classes: int, size: int | None = None, added: Mapping[str, Builder] | None = None
) -> nn.Module:
    """Return a new network: images (B, 3, S, S) to `Features`.

    Its first weights come from torch's global generator, which the caller seeds.

    Args:
        name: one of `names()`, or `timm:<name>`, or `torchvision:<name>`.
        classes: number of classes K.
        size: side S of its images; needed by vision transformers only, whose size is fixed.
        added: the networks of plugins by name: `builder(classes)` returns a module on images
            (B, 3, S, S), which may return `Features`, or logits (B, K): then its stages are found.

    Raises:
        BenchError: there is no network of that name, or it cannot be built for that size.

    """
    if added and name in added:
        return Outside(added[name](classes))
    if name in _own:
        return _own[name](classes)
    library, colon, inner = name.partition(":")
    if colon and library in LIBRARIES:
        return LIBRARIES[library](inner, classes, size)
    raise BenchError(
        f"{unknown('network', name, [*names(), *(added or ())])}, timm:<name>, torchvision:<name>"
    )
