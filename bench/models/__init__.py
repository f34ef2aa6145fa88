"""Build networks by name: `build("resnet8x4", 100)` returns a network for 100 classes.

A network maps images to `Features`: stage maps, pooled features and logits. This package has the 22
CIFAR networks that distillation papers use, one file per family. `timm:<name>` and
`torchvision:<name>` are networks of these libraries. Plugins (users' modules) can add networks;
`bench.models.base` documents how.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.errors import BenchError, unknown
from bench.models import dry_run, mobile, resnet, vgg
from bench.models.base import Builder, Cost
from bench.models.wrapper import LIBRARIES, FeatureExtractor
from distillers import Features, Shapes

__all__ = [
    "Builder",
    "Cost",
    "FeatureExtractor",
    "build",
    "cost",
    "names",
    "shapes",
    "stage_layers",
]

_builtin: dict[str, Builder] = {
    **resnet.NETWORKS,
    **vgg.NETWORKS,
    **mobile.NETWORKS,
}


def names() -> list[str]:
    """Return the sorted names of this package's networks.

    Networks of timm and torchvision are not listed.
    """
    return sorted(_builtin)


def build(
    name: str,
    classes: int,
    size: int | None = None,
    added: Mapping[str, Builder] | None = None,
    stages: Sequence[str] = (),
) -> nn.Module:
    """Return a new network; torch's global generator draws the initial weights.

    Args:
        name: one of `names()`, or `timm:<name>`, or `torchvision:<name>`.
        classes: number of classes K.
        size: side S of the images in pixels; needed only for networks with a fixed image size, such
            as vision transformers, and for networks with lazy layers.
        added: functions that build the networks of plugins, by the network's name.
        stages: names of the layers whose outputs are the stages, in the order of the layers. If (),
            the network returns its stages, or `bench.models.wrapper` finds the layers.

    Returns:
        A module that maps images (B, 3, S, S) to `Features`.

    Raises:
        BenchError: the name is unknown, the library cannot build the network for images of that
            size, or a plugin's builder returns no module.

    """
    if added and name in added:
        return FeatureExtractor(_added(name, added[name], classes, size), stages)
    if name in _builtin:
        network = _builtin[name](classes)
        return FeatureExtractor(network, stages) if stages else network
    library, colon, library_name = name.partition(":")
    if colon and library in LIBRARIES:
        return FeatureExtractor(LIBRARIES[library](library_name, classes, size), stages)
    raise BenchError(
        f"{unknown('network', name, [*names(), *(added or ())])}, timm:<name>, torchvision:<name>"
    )


def _added(name: str, builder: Builder, classes: int, size: int | None) -> nn.Module:
    """Return a network of a plugin; the shapes of its lazy layers are determined."""
    if not callable(builder):
        value = f"NETWORKS['{name}'] is {builder!r}"
        raise BenchError(f"{value}. Allowed: a function of the number of classes")
    try:
        net = builder(classes)
    except SystemExit as error:
        raise BenchError(f"the network '{name}' exits{dry_run.raised_at(error)}") from error
    if not isinstance(net, nn.Module) or isinstance(net, torch.jit.ScriptModule):
        value = f"NETWORKS['{name}'] returns {type(net).__name__}"
        raise BenchError(f"{value}. Allowed: an nn.Module in Python, without torch.jit")
    if any(isinstance(parameter, nn.UninitializedParameter) for parameter in net.parameters()):
        if size is None:
            raise BenchError(f"the network '{name}' has lazy layers, which need an image size")
        dry_run.run(net.eval(), size)
        net.train()
    return net


def shapes(net: nn.Module, size: int) -> Shapes:
    """Return the shapes of a network's features, measured in one forward pass of a copy.

    The network's weights, buffers and mode do not change, nor do torch's random generators.

    Args:
        net: a network that `build` returned.
        size: side S of the images in pixels.

    Returns:
        The shapes (C, H, W) of the stages, the number D of pooled features and the number K of
        logits.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S), or does not return `Features` with
            the shapes of its fields.

    """
    if isinstance(net, FeatureExtractor):
        net.hook_points(size)  # fills a cache, which training reads
    features = dry_run.run(dry_run.copy_network(net, size), size)
    if not isinstance(features, Features):
        raise BenchError(f"{type(net).__name__} does not return distillers.Features")
    if problem := _invalid(features):
        network = net.network if isinstance(net, FeatureExtractor) else net
        raise BenchError(f"{type(network).__name__} returns Features whose {problem}")
    stages = tuple((s.shape[1], s.shape[2], s.shape[3]) for s in features.stages)
    return Shapes(stages, features.pooled.shape[1], features.logits.shape[1])


def _invalid(features: Features) -> str | None:
    """Return why features have not the shapes that `Features` documents; None if they have."""
    stages = features.stages
    if not isinstance(stages, tuple):
        return f"stages are a {type(stages).__name__}. Allowed: a tuple of maps (B, C, H, W)"
    maps = [(f"stages[{index}]", stage, 4) for index, stage in enumerate(stages)]
    for name, value, dims in (
        *maps,
        ("pooled", features.pooled, 2),
        ("logits", features.logits, 2),
    ):
        if not isinstance(value, Tensor) or value.dim() != dims:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            allowed = "a map (B, C, H, W)" if dims == 4 else "a tensor (B, D) of two dimensions"
            return f"{name} is {shape}. Allowed: {allowed}"
    return None


def stage_layers(net: nn.Module, size: int) -> tuple[str, ...] | None:
    """Return the names of the layers whose outputs are a network's stages.

    Args:
        net: a network that `build` returned.
        size: side S of the images in pixels.

    Returns:
        The names in the order of the layers; None if the network itself returns its stages.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S).

    """
    points = net.hook_points(size) if isinstance(net, FeatureExtractor) else None
    return tuple(point.layer for point in points.stages) if points else None


def cost(net: nn.Module, size: int) -> Cost:
    """Return the number of parameters of a network, and its multiply-adds for one image.

    Args:
        net: a network that `build` returned; it is not changed.
        size: side S of the image in pixels.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S).

    """
    network = net.network if isinstance(net, FeatureExtractor) else net
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return Cost(parameters, dry_run.count_multiply_adds(network, size))
