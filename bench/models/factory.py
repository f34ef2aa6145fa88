"""Build networks, and measure their shapes and costs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.errors import BenchError, unknown
from bench.models import dry_run, mobile, mobilenet_v1, names, resnet, taps, vgg
from bench.models.base import Builder, Cost, Taps
from bench.models.head import Headed
from bench.models.libraries import LIBRARIES
from bench.models.taps import TAPPED
from bench.models.wrapper import FeatureExtractor, find_classifier, logits_of
from distillers import Distiller, Features, Shapes
from distillers.base import FeatureName

_builtin: dict[str, Builder] = {
    **resnet.NETWORKS,
    **vgg.NETWORKS,
    **mobile.NETWORKS,
    **mobilenet_v1.NETWORKS,
}


def build(
    name: str,
    classes: int,
    size: int | None = None,
    added: Mapping[str, Builder] | None = None,
    stages: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    *,
    pretrained: bool = False,
) -> nn.Module:
    """Return a new network; torch's global generator draws the initial weights.

    Args:
        name: one of `names()`, or `timm:<name>`, or `torchvision:<name>`.
        classes: number of classes K.
        size: side S of the images in pixels; needed only for networks with a fixed image size, such
            as vision transformers, and for networks with torch's lazy layers.
        added: functions that build the networks of plugins, by the network's name.
        stages: names of the layers whose outputs are the stages, in the order of the layers. If (),
            the network itself returns its stages, or `bench.models.wrapper` finds the layers.
        options: further arguments of the network's constructor; only for networks of timm and
            torchvision.
        pretrained: whether the network starts from its library's pretrained weights. If the number
            of classes differs, the classifier's weights are random.

    Returns:
        A module that maps images (B, 3, S, S) to `Features`.

    Raises:
        BenchError: the name is unknown, the library cannot build the network for images of this
            size, the pretrained weights cannot be read, or a plugin's builder returns no module.

    """
    if added and name in added:
        return FeatureExtractor(_added(name, added[name], classes, size), stages)
    if name in _builtin:
        network = _builtin[name](classes)
        return FeatureExtractor(network, stages) if stages else network
    library, colon, library_name = name.partition(":")
    if colon and library in LIBRARIES:
        network = LIBRARIES[library](library_name, classes, size, options or {}, pretrained)
        return FeatureExtractor(network, stages)
    raise BenchError(
        f"{unknown('network', name, [*names(), *(added or ())])}, timm:<name>, torchvision:<name>"
    )


def _added(name: str, builder: Builder, classes: int, size: int | None) -> nn.Module:
    """Return a network of a plugin; a dry run has set the shapes of torch's lazy layers."""
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


def shapes(net: nn.Module, size: int, reads: Collection[FeatureName] = ()) -> Shapes:
    """Return the shapes of a network's features, measured in one forward pass of a copy.

    The network's weights, buffers and mode do not change, nor do torch's random generators.

    Args:
        net: a network that `build` returned.
        size: side S of the images in pixels.
        reads: optional fields of `Features` to measure, besides stages, pooled and logits.

    Returns:
        The shapes (C, H, W) of the maps, the pooled width D and the number of logits K. For each
        field of `reads` that the network does not have, `missing` has the reason.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S), or does not return `Features` with
            the shapes of its fields.

    """
    places = places_of(net, size) if TAPPED.intersection(reads) else Taps()
    if isinstance(net, FeatureExtractor):
        net.hook_points(size)  # fills the cache that training reads
    absent = dict(places.missing)
    copied = dry_run.copy_network(net, size)
    call = taps.reader(copied, places, set(reads) - absent.keys())
    features = dry_run.run(copied, size, call)
    if not isinstance(features, Features):
        raise BenchError(f"{type(net).__name__} does not return distillers.Features")
    if problem := _invalid(features):
        network = net.network if isinstance(net, FeatureExtractor) else net
        raise BenchError(f"{type(network).__name__} returns Features whose {problem}")
    return Shapes(
        tuple(map(_size, features.stages)),
        features.pooled.shape[1],
        features.logits.shape[1],
        tuple(map(_size, features.preactivations)),
        None if features.stem is None else _size(features.stem),
        None if features.pooled_map is None else _size(features.pooled_map),
        features.classifier is not None,
        tuple(len(norm.weight) for norm in features.norms),
        tuple((name, reason) for name, reason in places.missing if name in reads),
        features.distilled is not None,
    )


def _size(x: Tensor) -> tuple[int, int, int]:
    return x.shape[1], x.shape[2], x.shape[3]


def places_of(net: nn.Module, size: int) -> Taps:
    """Return the layers where a network's optional `Features` are read, for one image size.

    Args:
        net: a network that `build` returned.
        size: side S of the images in pixels.

    """
    return net.places(size) if isinstance(net, FeatureExtractor) else taps.declared(net)


def reader(
    net: nn.Module, size: int, reads: Collection[FeatureName]
) -> Callable[[Tensor], Features]:
    """Return a function that maps images (B, 3, S, S) to the fields of `Features` in `reads`.

    Args:
        net: a network that `build` returned; the function uses this network, not a copy.
        size: side S of the images in pixels.
        reads: the fields to return; the network must have these fields (see `shapes`).

    """
    if not TAPPED.intersection(reads):
        return net
    return taps.reader(net, places_of(net, size), reads)


def headed(net: nn.Module, distiller: nn.Module, size: int) -> Headed:
    """Return a student whose logits are a distiller's prediction (`Distiller.predict`).

    Args:
        net: the student, a network that `build` returned.
        distiller: the distiller.
        size: side S of the images in pixels.

    """
    return Headed(net, cast(Distiller, distiller), places_of(net, size))


def _invalid(features: Features) -> str | None:
    """Describe the first field with another shape than `Features` documents; None if all fit."""
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


def classifier_layer(net: nn.Module, size: int) -> str | None:
    """Return the name of the layer that computes a network's logits; None if no layer does.

    Args:
        net: a network that `build` returned, or the network inside a `FeatureExtractor`.
        size: side S of the images in pixels.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S), or does not return logits.

    """
    network = net.network if isinstance(net, FeatureExtractor) else net
    if layer := taps.declared(network).classifier:
        return layer
    calls, output = dry_run.trace(dry_run.copy_network(network, size), size)
    logits = output.logits if isinstance(output, Features) else logits_of(network, output)
    end = find_classifier(calls, logits.shape[1])
    return None if end is None else calls[end].layer


def layer_groups(net: nn.Module, decay: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters of a timm network as optimiser groups, one learning rate per layer.

    Args:
        net: a network that `build` returned.
        decay: factor of the learning rate from each layer to the layer before.
        weight_decay: weight decay of all parameters.

    Raises:
        BenchError: the network has no `group_matcher`, timm's method that names the layers.

    """
    network = net.network if isinstance(net, FeatureExtractor) else net
    if not hasattr(network, "group_matcher"):
        problem = f"layer_decay: {type(network).__name__} has no group_matcher"
        raise BenchError(f"{problem}. Allowed: layer_decay 1, or timm networks with this method")
    from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

    groups: list[dict[str, Any]] = param_groups_layer_decay(
        network, weight_decay, weight_decay_exclude_1d=False, layer_decay=decay
    )
    return groups


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
