"""Networks by name: `build("resnet8x4", 100)(images)` returns their `Features`.

The 22 CIFAR networks of the field are here, one file per family. `timm:<name>` and
`torchvision:<name>` are the networks of those libraries. Plugins register their own networks;
`bench.models.base` is the contract for them.
"""

from torch import nn

from bench.errors import BenchError, unknown
from bench.models import mobilenet, resnet, shufflenet, vgg, wide_resnet
from bench.models.base import Builder, Cost
from bench.models.measure import cost, shapes
from bench.models.wrapper import LIBRARIES, FeatureExtractor

__all__ = ["Builder", "Cost", "build", "cost", "names", "register", "shapes"]

_builtin: dict[str, Builder] = {
    **resnet.NETWORKS,
    **wide_resnet.NETWORKS,
    **vgg.NETWORKS,
    **mobilenet.NETWORKS,
    **shufflenet.NETWORKS,
}
_added: dict[str, Builder] = {}


def names() -> list[str]:
    """Return the sorted names of this package's and of plugins' networks.

    Networks of timm and torchvision are not listed.
    """
    return sorted({*_builtin, *_added})


def build(name: str, classes: int, size: int | None = None) -> nn.Module:
    """Return a new network, with initial weights from torch's global generator.

    Args:
        name: one of `names()`, or `timm:<name>`, or `torchvision:<name>`.
        classes: number of classes K.
        size: side S of its images in pixels; only vision transformers, of a fixed size, need it.

    Returns:
        A module that maps images (B, 3, S, S) to `Features`.

    Raises:
        BenchError: the name is unknown, or the network cannot be built for that size.

    """
    if name in _added:
        return FeatureExtractor(_added[name](classes))
    if name in _builtin:
        return _builtin[name](classes)
    library, colon, library_name = name.partition(":")
    if colon and library in LIBRARIES:
        return LIBRARIES[library](library_name, classes, size)
    raise BenchError(f"{unknown('network', name, names())}, timm:<name>, torchvision:<name>")


def register(name: str, builder: Builder) -> None:
    """Add a plugin's network to the names that `build` accepts.

    The network's parameters get the prefix `network.`.

    Args:
        name: its name in suites.
        builder: maps the number of classes K to a module on images (B, 3, S, S), which returns
            `Features` or logits (B, K).

    Raises:
        BenchError: a different network has that name.

    """
    if name in _builtin or _added.get(name, builder) is not builder:
        raise BenchError(f"a network '{name}' exists already")
    _added[name] = builder
