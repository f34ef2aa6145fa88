"""Read the optional fields of `Features` by hooks, which exist only during a forward pass.

A tap is a place where a hook reads a tensor: the input or the output of a layer. Networks of this
package and of plugins declare their taps (`bench.models.base.Taps`). For networks of timm and
torchvision, `find` searches the calls of layers in a dry run.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.models.base import Tap, Taps
from bench.models.dry_run import MAX_COMPUTED_SIDE, LayerCall, copy_network, map_side
from distillers import Features
from distillers.base import Affine, FeatureName

TAPPED = frozenset({"stem", "preactivations", "norms", "pooled_map", "classifier", "distilled"})
SECOND = "head_dist"  # timm's name of a second classifier, which learns from the teacher
SILENT = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)  # change no values in evaluation mode
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.ELU, nn.Mish)
UNDECLARED = "the network declares no such layer (`taps` in bench.models.base)"
ONE_CLASSIFIER = "it has one classifier, without a second one that learns from the teacher"


class Reader:
    """A network that also returns optional fields of `Features`.

    Args:
        net: The network; its weights are not copied.
        taps: The places of the fields in the network.
        reads: The fields to return; the network has them.
    """

    def __init__(self, net: nn.Module, taps: Taps, reads: Collection[str]) -> None:
        self._net, self._taps, self._reads = net, taps, reads

    def __call__(self, images: Tensor) -> Features:
        """Return the features of images (B, 3, S, S)."""
        taps, reads, tensors = self._taps, self._reads, dict[Tap, Tensor]()
        with ExitStack() as hooks:
            for tap in self._points():
                hooks.enter_context(_listen(self._net.get_submodule(tap.layer), tap, tensors))
            if "distilled" in reads:
                hooks.enter_context(_two_logits(self._net))
            features: Features = self._net(images)
        fields: dict[str, Any] = {}
        if "preactivations" in reads:
            fields["preactivations"] = tuple(tensors[tap] for tap in taps.preactivations)
        if "stem" in reads and taps.stem:
            fields["stem"] = tensors[taps.stem]
        if "pooled_map" in reads:
            is_last = taps.pooled_map == "last stage"
            fields["pooled_map"] = features.stages[-1] if is_last else tensors[taps.pooled_map]  # type: ignore[index]
        if "classifier" in reads:
            fields["classifier"] = self._affine(taps.classifier)
        if "norms" in reads:
            fields["norms"] = tuple(map(self._affine, taps.norms))
        if "distilled" in reads:
            fields["distilled"] = tensors[Tap(taps.distilled)]
        return replace(features, **fields)

    def _points(self) -> list[Tap]:
        taps, reads = self._taps, self._reads
        points = list(taps.preactivations) if "preactivations" in reads else []
        points += [taps.stem] if taps.stem and "stem" in reads else []
        points += [Tap(taps.distilled)] if "distilled" in reads else []
        is_tapped = isinstance(taps.pooled_map, Tap) and "pooled_map" in reads
        return [*points, *([taps.pooled_map] if is_tapped else [])]  # type: ignore[list-item]

    def _affine(self, layer: str) -> Affine:
        module: Any = self._net.get_submodule(layer)
        return Affine(module.weight, module.bias)


def _listen(layer: nn.Module, tap: Tap, tensors: dict[Tap, Tensor]) -> Any:
    """Add a hook that stores the tensor of a tap; return its handle.

    The network continues with a copy, because a later layer may overwrite the tensor.
    """
    calls = Counter[str]()

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        calls["input"] += 1
        if calls["input"] != tap.call + 1:
            return None
        tensors[tap] = tap.combine(*inputs) if tap.combine else inputs[0]
        return tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs)

    def after(_: nn.Module, __: object, output: Tensor) -> Tensor | None:
        calls["output"] += 1
        if calls["output"] != tap.call + 1:
            return None
        tensors[tap] = output
        return output.clone()

    if tap.side == "input":
        return layer.register_forward_pre_hook(before)
    return layer.register_forward_hook(after)


@contextmanager
def _two_logits(net: nn.Module) -> Iterator[None]:
    """Let a network of timm return both classifiers' logits in training mode, not their mean."""
    switches = [m for m in net.modules() if hasattr(m, "set_distilled_training")]
    for module in switches:
        module.set_distilled_training(True)  # type: ignore[operator]
    try:
        yield
    finally:
        for module in switches:
            module.set_distilled_training(False)  # type: ignore[operator]


def reader(net: nn.Module, taps: Taps, reads: Collection[str]) -> Callable[[Tensor], Features]:
    """Return the network itself, or a `Reader` if `reads` has fields that only hooks can read."""
    return Reader(net, taps, reads) if TAPPED.intersection(reads) else net


def declared(net: nn.Module) -> Taps:
    """Return a network's declared taps; without any, taps with a reason for each missing field."""
    taps = getattr(net, "taps", None)
    names: tuple[FeatureName, ...]
    names = ("stem", "preactivations", "pooled_map", "classifier", "norms")
    if not isinstance(taps, Taps):
        taps = Taps(missing=tuple((name, UNDECLARED) for name in names))
    if taps.distilled:
        return taps
    return replace(taps, missing=(*taps.missing, ("distilled", ONE_CLASSIFIER)))


def under(prefix: str, taps: Taps) -> Taps:
    """Return taps with the prefix `prefix.` in the layer names, for a module around a network."""

    def moved(tap: Tap | None) -> Tap | None:
        return tap and replace(tap, layer=f"{prefix}.{tap.layer}")

    pooled = taps.pooled_map
    return Taps(
        moved(taps.stem),
        tuple(replace(tap, layer=f"{prefix}.{tap.layer}") for tap in taps.preactivations),
        moved(pooled) if isinstance(pooled, Tap) else pooled,
        taps.classifier and f"{prefix}.{taps.classifier}",
        tuple(f"{prefix}.{layer}" for layer in taps.norms),
        taps.missing,
        taps.distilled and f"{prefix}.{taps.distilled}",
    )


def verified(net: nn.Module, taps: Taps, size: int) -> Taps:
    """Return the taps; remove `pooled_map` if its mean is not the input of the classifier.

    A copy of the network computes this mean and this input for random images, whose side has at
    most `MAX_COMPUTED_SIDE` pixels.
    """
    if taps.pooled_map is None:
        return taps
    side = min(size, MAX_COMPUTED_SIDE)
    reason = "the mean of the last map is not the input of its classifier"
    missing = (*taps.missing, ("pooled_map", reason))
    without = replace(taps, pooled_map=None, missing=missing)
    try:
        call = Reader(copy_network(net, side), taps, {"pooled_map"})
        images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            features = call(images)
        is_mean = torch.allclose(
            features.pooled_map.mean((2, 3)), features.pooled, rtol=1e-3, atol=1e-5
        )
    except (RuntimeError, ValueError, AssertionError, BenchError):
        return without
    return taps if is_mean else without


def find(
    calls: Sequence[LayerCall],
    ends: Sequence[tuple[str, int]],
    stem: tuple[str, int] | None,
    body: int,
    head: int,
) -> Taps:
    """Find the taps of a network that returns logits.

    Args:
        calls: The calls of the network's layers in a dry run.
        ends: For each stage, the name of its last layer and the number of that layer's call.
        stem: Name and call of the stem's last layer; None if the stem is unknown.
        body: Number of the calls before the global pooling.
        head: Index of the classifier's call in `calls`.

    Returns:
        The taps, with a reason for each field that was not found.
    """
    positions = {(call.layer, call.index): i for i, call in enumerate(calls)}
    activations = [_last_activation(calls, positions[end]) for end in ends]
    missing: list[tuple[FeatureName, str]] = []
    preactivations: tuple[Tap, ...] = ()
    norms: tuple[str, ...] = ()
    places = [index for index in activations if index is not None]
    if ends and len(places) == len(ends):
        preactivations = tuple(Tap(calls[i].layer, "input", calls[i].index) for i in places)
        before = [calls[i - 1] for i in places if i]
        if all(isinstance(call.module, nn.BatchNorm2d) for call in before):
            norms = tuple(call.layer for call in before)
    else:
        missing.append(("preactivations", "a stage does not end with the output of an activation"))
    if not norms:
        missing.append(("norms", "a stage does not end with a batch norm and an activation"))
    distilled = calls[head].layer if SECOND in calls[head].layer.split(".") else ""
    linear = isinstance(calls[head].module, nn.Linear) and not distilled
    if distilled:
        missing.append(("classifier", "its logits are the mean of two classifiers"))
    elif not linear:
        missing.append(("classifier", "its classifier is not a linear layer"))
    if not distilled:
        missing.append(("distilled", ONE_CLASSIFIER))
    pooled = _pooled_map(calls, body, head)
    if pooled is None:
        missing.append(("pooled_map", "other layers than pooling precede its classifier"))
    if stem is None:
        missing.append(("stem", "no layer could be identified as the end of a stem"))
    tap = Tap(stem[0], call=stem[1]) if stem else None
    name = calls[head].layer if linear else ""
    return Taps(tap, preactivations, pooled, name, norms, tuple(missing), distilled)


def _last_activation(calls: Sequence[LayerCall], end: int) -> int | None:
    """Return the index of the activation whose output the call `end` returns; None without one."""
    for index in range(end, calls[end].start - 1, -1):
        call = calls[index]
        if isinstance(call.module, ACTIVATIONS) and call.shape == calls[end].shape:
            return index
        if next(call.module.children(), None) is None and not isinstance(call.module, SILENT):
            return None  # another layer, such as a convolution, follows the last activation
    return None


def _pooled_map(calls: Sequence[LayerCall], body: int, head: int) -> Tap | None:
    """Return the tap of the last map (B, D, H, W), if only pooling precedes the classifier."""
    last = next((i for i in reversed(range(body)) if map_side(calls[i].shape)), None)
    if last is None or calls[last].shape[1] != calls[head].input_shape[-1]:
        return None
    for call in calls[last + 1 : head]:
        is_leaf = next(call.module.children(), None) is None
        if is_leaf and not call.is_pooling and not isinstance(call.module, SILENT):
            return None
    return Tap(calls[last].layer, call=calls[last].index)
