"""Networks by name: `build("resnet8x4", 100)(images)` returns their `Features`.

The 22 CIFAR networks of the field are here, one file per family. `timm:<name>` and
`torchvision:<name>` are the networks of those libraries. A `Registry` adds the networks
of plugins; `bench.models.base` is the contract for them.
"""

from collections.abc import Mapping

from torch import nn

from bench.errors import BenchError, unknown
from bench.models import mobilenet, resnet, shufflenet, vgg, wide_resnet
from bench.models.base import Builder, Cost
from bench.models.measure import cost, shapes
from bench.models.wrapper import LIBRARIES, FeatureExtractor

__all__ = ["Builder", "Cost", "build", "cost", "names", "shapes"]

_builtin: dict[str, Builder] = {
    **resnet.NETWORKS,
    **wide_resnet.NETWORKS,
    **vgg.NETWORKS,
    **mobilenet.NETWORKS,
    **shufflenet.NETWORKS,
}


def names() -> list[str]:
    """Return the sorted names of this package's networks.

    Networks of timm and torchvision are not listed.
    """
    return sorted(_builtin)


def build(
    name: str, classes: int, size: int | None = None, added: Mapping[str, Builder] | None = None
) -> nn.Module:
    """Return a new network, with initial weights from torch's global generator.

    Args:
        name: one of `names()`, or `timm:<name>`, or `torchvision:<name>`.
        classes: number of classes K.
        size: side S of its images in pixels; only vision transformers, of a fixed size, need it.
        added: builders of plugins' networks by name.

    Returns:
        A module that maps images (B, 3, S, S) to `Features`.

    Raises:
        BenchError: the name is unknown, or the network cannot be built for that size.

    """
    if added and name in added:
        return FeatureExtractor(added[name](classes))
    if name in _builtin:
        return _builtin[name](classes)
    library, colon, library_name = name.partition(":")
    if colon and library in LIBRARIES:
        return LIBRARIES[library](library_name, classes, size)
    raise BenchError(
        f"{unknown('network', name, [*names(), *(added or ())])}, timm:<name>, torchvision:<name>"
    )
