"""A wrapper that lets networks of timm, torchvision and plugins return `Features`.

Hooks read the stages of the wrapped network. A suite can declare the layers that end the stages.
Otherwise, one dry run (a forward pass of a copy) finds these layers: `dry_run.trace` records the
shape of every layer's output, in the order in which the layers finish. The rules are:

- If the network lists its stages itself (timm's `feature_info`), this list is used.
- In a transformer, stages are the patch tokens (B, N, D) of four evenly spaced blocks, the last
  block included. If resolutions differ, the stages are the tokens of each resolution's last block.
  Class tokens are removed, and the patch tokens become maps (B, D, h, w).
- In other networks, a stage is the last map of its resolution, (B, C, H, W) or (B, H, W, C). A map
  inside a block does not end a stage. Examples are maps in squeeze and excitation, and the
  expansion before a convolution with stride.
- A first stage of a single convolution is called the stem. It is left out if two or more stages
  follow.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isqrt
from typing import Any, Literal

from torch import Tensor, nn

from bench.errors import BenchError, nearest
from bench.models import dry_run, taps
from bench.models.base import Taps
from bench.models.dry_run import LayerCall, map_side
from distillers import Features

TRANSFORMER_STAGES = 4  # number of stages if all blocks have the same resolution
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class HookPoint:
    """A place where a hook reads a tensor: a call of a layer, and the layout of the tensor."""

    layer: str  # the layer's name in the network
    call: int  # number of the call among the layer's calls in one forward pass, from 0
    layout: Literal["channels first", "channels last", "tokens"]
    prefix: int = 0  # number of leading tokens that are not patches, such as class tokens


@dataclass(frozen=True)
class HookPoints:
    """The hook points of a network: the outputs of its stages and the input of its classifier.

    The classifier is None for a network that returns `Features` itself. `taps` names the layers
    where the optional fields of `Features` are read.
    """

    stages: tuple[HookPoint, ...]
    classifier: HookPoint | None
    taps: Taps = Taps()


class FeatureExtractor(nn.Module):
    """A network whose stages and classifier input are read by hooks.

    The network's parameters get the prefix `network.` in their names; a checkpoint with the
    original names can be loaded, too. The hooks exist only while `forward` runs. A network that
    returns `Features` gets hooks only for declared stages.

    Args:
        network: maps images (B, 3, S, S) to logits (B, K), to a tuple that starts with logits, or
            to `Features`.
        stages: names of the layers whose outputs are the stages, in the order of the layers; (): a
            dry run finds the layers.

    """

    def __init__(self, network: nn.Module, stages: Sequence[str] = ()) -> None:
        super().__init__()
        self.network, self._declared = network, tuple(stages)
        self._hook_points: dict[int, HookPoints | None] = {}  # by image size
        self._places: dict[int, Taps] = {}  # by image size

    def forward(self, images: Tensor) -> Features:
        """Return the features of images (B, 3, S, S).

        Raises:
            BenchError: the network fails for images of this size.

        """
        points = self.hook_points(images.shape[-1])
        if points is None:
            features: Features = self.network(images)
            return features
        tensors, output = self._run(images, points)
        wanted = (*points.stages, points.classifier)
        if skipped := [point.layer for point in wanted if point and point not in tensors]:
            raise BenchError(
                f"{type(self.network).__name__} did not call its layers {', '.join(skipped)} in "
                "this pass, but called them in a first pass. Let it return distillers.Features"
            )
        stages = tuple(as_map(tensors[point], point) for point in points.stages)
        if points.classifier is None:
            return Features(stages, output.pooled, output.logits)
        logits = logits_of(self.network, output)
        pooled = as_vector(tensors[points.classifier], points.classifier)
        return Features(stages, pooled, logits)

    def _run(self, images: Tensor, points: HookPoints) -> tuple[dict[HookPoint, Tensor], Any]:
        """Return the tensors at the hook points and the output of the network."""
        tensors: dict[HookPoint, Tensor] = {}
        times: Counter[str] = Counter()
        stages = {(point.layer, point.call): point for point in points.stages}
        head = points.classifier

        def collect(_: object, inputs: tuple[Tensor, ...], output: Tensor, *, layer: str) -> None:
            call = (layer, times[layer])
            times[layer] += 1
            if call in stages:
                tensors[stages[call]] = output if isinstance(output, Tensor) else output[0]
            if head and call == (head.layer, head.call):
                tensors[head] = inputs[0]

        with ExitStack() as hooks:
            for layer in {point.layer for point in (*points.stages, head) if point}:
                module = self.network.get_submodule(layer)
                hooks.enter_context(module.register_forward_hook(partial(collect, layer=layer)))
            return tensors, self.network(images)

    def hook_points(self, size: int) -> HookPoints | None:
        """Return the hook points for images of one size; None if the network needs no hooks."""
        if size not in self._hook_points:
            self._hook_points[size] = find_hook_points(self.network, size, self._declared)
        return self._hook_points[size]

    def places(self, size: int) -> Taps:
        """Return the layers where optional `Features` are read, for images of one size."""
        if size not in self._places:
            points = self.hook_points(size)
            inner = points.taps if points else taps.declared(self.network)
            self._places[size] = taps.verified(self, taps.under("network", inner), size)
        return self._places[size]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights with the names of this module or with the network's original names."""
        if self.state_dict().keys() & state_dict.keys():
            return super().load_state_dict(state_dict, strict, assign)
        return self.network.load_state_dict(state_dict, strict, assign)


def logits_of(net: nn.Module, output: object) -> Tensor:
    """Return the logits (B, K) in a network's output; logits of auxiliary heads are omitted.

    Raises:
        BenchError: the output is neither logits nor a tuple that starts with logits.

    """
    logits = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        value = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise BenchError(
            f"{type(net).__name__} returns neither logits (B, K) nor distillers.Features, but "
            f"{value}"
        )
    return logits


def as_map(x: Tensor, point: HookPoint) -> Tensor:
    """Return the output of a stage as a map (B, C, H, W)."""
    if point.layout == "channels last":
        return x.permute(0, 3, 1, 2)
    if point.layout == "tokens":
        patches = x[:, point.prefix :].transpose(1, 2)  # (B, D, N)
        side = isqrt(patches.shape[2])
        return patches.reshape(*patches.shape[:2], side, side)
    return x


def as_vector(x: Tensor, point: HookPoint) -> Tensor:
    """Return the input of a classifier as vectors (B, D); maps and tokens are averaged."""
    if x.dim() == 2:
        return x
    return x.flatten(2).mean(2) if point.layout == "channels first" else x.flatten(1, -2).mean(1)


def find_hook_points(net: nn.Module, size: int, declared: Sequence[str] = ()) -> HookPoints | None:
    """Return the hook points of a network for images of one size; None if no hook is needed.

    Args:
        net: the network; it is not changed.
        size: side S of the images in pixels.
        declared: names of the layers whose outputs are the stages; (): a dry run finds the layers.

    Raises:
        BenchError: the network returns neither logits (B, K) nor `Features`, no layer computes the
            logits, the network cannot take images (B, 3, S, S), or a declared layer has no map.

    """
    calls, output = dry_run.trace(dry_run.copy_network(net, size), size)
    stages = declared_stages(net, calls, declared) if declared else None
    if isinstance(output, Features):
        return HookPoints(stages, None, taps.declared(net)) if stages else None
    name = type(net).__name__
    logits = logits_of(net, output)
    end = find_classifier(calls, logits.shape[1])
    if end is None:
        raise BenchError(
            f"{name} has no linear or convolutional layer with an output of {logits.shape[1]} "
            "logits, so the input of its classifier is unknown. Let it return distillers.Features"
        )
    head = calls[end]
    first = isinstance(head.module, nn.Conv2d)
    point = HookPoint(head.layer, head.index, "channels first" if first else "channels last")
    points, stem = (stages, None) if stages else find_stages(net, calls[:end])
    ends = [(stage.layer, stage.call) for stage in points]
    body = len(before_pooling(calls[:end]))
    before = (stem.layer, stem.call) if stem else None
    places = taps.find(calls, ends, before, body, end)
    return HookPoints(points, point, places)


def declared_stages(
    net: nn.Module, calls: Sequence[LayerCall], names: Sequence[str]
) -> tuple[HookPoint, ...]:
    """Return a hook point for the last call of each named layer, in the order of the calls.

    Raises:
        BenchError: a layer does not exist, is not called, or returns neither a square map nor
            tokens of a square map.

    """
    layers = [name for name, _ in net.named_modules() if name]
    last_calls = {call.layer: call for call in calls}
    prefix = getattr(net, "num_prefix_tokens", None)
    points: dict[str, HookPoint] = {}
    for name in names:
        if name not in layers:
            raise BenchError(
                f"{type(net).__name__} has no layer '{name}'.{nearest(name, layers)} Allowed: its "
                f"{len(layers)} layers, such as {', '.join(layers[:8])}"
            )
        point = hook_point(last_calls[name], prefix) if name in last_calls else None
        if point is None:
            shape = last_calls[name].shape if name in last_calls else "no tensor"
            raise BenchError(
                f"layer '{name}' of {type(net).__name__} returns {shape}. Allowed for a stage: "
                "a square map (B, C, H, W) or (B, H, W, C), or tokens (B, N, D) of a square map"
            )
        points[name] = point
    order = [call.layer for call in calls]
    return tuple(sorted(points.values(), key=lambda point: order.index(point.layer)))


def find_classifier(calls: Sequence[LayerCall], classes: int) -> int | None:
    """Return the index of the classifier's call; None if no layer has `classes` outputs.

    The classifier is the last linear layer with `classes` outputs. If there is no such linear
    layer, the classifier is the last convolution with `classes` output channels.
    """
    for kind, channel in ((nn.Linear, -1), (nn.Conv2d, 1)):
        for index in reversed(range(len(calls))):
            if isinstance(calls[index].module, kind) and calls[index].shape[channel] == classes:
                return index
    return None


def find_stages(
    net: nn.Module, calls: Sequence[LayerCall]
) -> tuple[tuple[HookPoint, ...], HookPoint | None]:
    """Return the hook points of the stages, and the hook point of the stem.

    Without stages, the first value is (); the stem is None if the network has no separate stem.
    `calls` are the calls of layers before the classifier.
    """
    prefix = getattr(net, "num_prefix_tokens", None)
    candidates = (
        listed_stages(net, calls, prefix),
        transformer_blocks(calls, prefix),
        last_maps(calls),
    )
    for ends in candidates:
        points = [point for call in ends if (point := hook_point(call, prefix))]
        if not ends or len(points) < len(ends):
            continue
        weighted = [0, *(call.weighted for call in ends)]  # a call without weights ends no stage
        points = [point for point, (a, b) in zip(points, pairwise(weighted), strict=True) if b > a]
        has_stem = len(points) > 2 and ends[0].weighted <= 1
        return (tuple(points[1:]), points[0]) if has_stem else (tuple(points), None)
    return (), None


def listed_stages(
    net: nn.Module, calls: Sequence[LayerCall], prefix: int | None
) -> Sequence[LayerCall]:
    """Return the last call of each layer in timm's list `feature_info`; () if there is no list.

    Of several layers with one resolution, only the last one ends a stage. If all layers have one
    resolution, as in transformers, four evenly spaced calls are returned.
    """
    info = getattr(net, "feature_info", None)
    listed = [entry.get("module") for entry in info] if isinstance(info, list) else []
    names = list(dict.fromkeys(listed))
    last_calls = {call.layer: call for call in calls}
    ends = [last_calls[name] for name in names if name in last_calls]
    if len(ends) < len(names):
        return ()
    last_of_side = {resolution(call, prefix): call for call in ends}
    return list(last_of_side.values()) if len(last_of_side) > 1 else evenly_spaced(ends)


def resolution(call: LayerCall, prefix: int | None) -> int:
    """Return the side of a call's map, or of the map of its patch tokens; 0 for other outputs."""
    point = hook_point(call, prefix)
    if point is None or point.layout != "tokens":
        return map_side(call.shape)
    return isqrt(call.shape[1] - point.prefix)


def transformer_blocks(calls: Sequence[LayerCall], prefix: int | None) -> Sequence[LayerCall]:
    """Return the calls that end the stages of a transformer; () if `calls` has no such blocks.

    Blocks are layers of one class with outputs (B, N, D) and names that differ only in numbers. A
    block contains at least two convolutions or linear layers. All blocks together contain most of
    the network's convolutions and linear layers. If all outputs have one shape, four evenly spaced
    blocks end the stages. Otherwise, the last block of each shape ends a stage.
    """
    groups: dict[tuple[str, type], list[LayerCall]] = {}
    for call in calls:
        if len(call.shape) == 3 and weighted_inside(call, calls) > 1 and hook_point(call, prefix):
            groups.setdefault((_NUMBER.sub("", call.layer), type(call.module)), []).append(call)
    coverage = {
        key: sum(weighted_inside(call, calls) for call in group)
        for key, group in groups.items()
        if len(group) > 1
    }
    if not coverage or 2 * max(coverage.values()) < calls[-1].weighted:
        return ()
    blocks = groups[max(coverage, key=lambda key: (coverage[key], -key[0].count(".")))]
    last_of_shape = {call.shape: call for call in blocks}
    return list(last_of_shape.values()) if len(last_of_shape) > 1 else evenly_spaced(blocks)


def weighted_inside(call: LayerCall, calls: Sequence[LayerCall]) -> int:
    """Return how many convolutions and linear layers a call contains."""
    return call.weighted - (calls[call.start - 1].weighted if call.start else 0)


def evenly_spaced(calls: Sequence[LayerCall]) -> Sequence[LayerCall]:
    """Return at most four of the calls, evenly spaced, including the last call."""
    count = min(len(calls), TRANSFORMER_STAGES)
    return [calls[(i + 1) * len(calls) // count - 1] for i in range(count)]


def last_maps(calls: Sequence[LayerCall]) -> Sequence[LayerCall]:
    """Return the call that computes the last map of each resolution before the global pooling."""
    ends: list[LayerCall] = []
    for index, call in reversed(list(enumerate(before_pooling(calls)))):
        floor = map_side(ends[-1].shape) if ends else 0
        parents = (later for later in calls[index + 1 :] if later.start <= index)
        if (
            call.can_end_stage
            and map_side(call.shape) > floor
            and not any(is_inside(call, block, floor, calls) for block in parents)
        ):
            ends.append(call)
    return ends[::-1]


def is_inside(call: LayerCall, block: LayerCall, floor: int, calls: Sequence[LayerCall]) -> bool:
    """Return whether a call belongs to a block whose output has the next lower resolution.

    Such a call is part of the next stage. An example is the expansion in a MobileNet block with
    stride 2. An `nn.Sequential` and a module that spans several resolutions are not blocks.
    A norm layer before the first weights of an `nn.Sequential` is part of the next stage, as in
    ConvNeXt.

    Args:
        call: a call inside `block` that returns a map.
        block: the call of a module that contains other layers.
        floor: side of the map that ends the next stage; 0 if there is no next stage.
        calls: all calls.

    """
    side = map_side(call.shape)
    weighted_before = calls[block.start - 1].weighted if block.start else 0
    is_next_norm = block.weighted > call.weighted == weighted_before
    is_sequential = type(block.module) is nn.Sequential and not is_next_norm
    is_trunk = block.start == 0 or is_sequential
    return (
        not is_trunk
        and map_side(block.input_shape) <= side
        and floor <= map_side(block.shape) < side
    )


def before_pooling(calls: Sequence[LayerCall]) -> Sequence[LayerCall]:
    """Return the calls before the global pooling layer; all calls if there is no such layer.

    The global pooling layer is the last adaptive pooling to 1 x 1. Pooling inside a block that
    returns a map, such as squeeze and excitation, is ignored.
    """
    for index, call in reversed(list(enumerate(calls))):
        if call.can_end_stage and map_side(call.shape) > 1:
            break
        is_adaptive = "Adaptive" in type(call.module).__name__ and call.is_pooling
        parents = (later for later in calls[index + 1 :] if later.start <= index)
        in_block = any(
            parent.can_end_stage and type(parent.module) is not nn.Sequential for parent in parents
        )
        if is_adaptive and call.shape[2:] in ((), (1, 1)) and not in_block:
            return calls[:index]
    return calls


def hook_point(call: LayerCall, prefix: int | None) -> HookPoint | None:
    """Return the hook point of a call, or None if its output cannot become a square map.

    `prefix` is the number of leading tokens that are not patches, or None if unknown.
    """
    if map_side(call.shape):
        first = call.shape[2] == call.shape[3]
        return HookPoint(call.layer, call.index, "channels first" if first else "channels last")
    if len(call.shape) != 3:
        return None
    tokens = call.shape[1]
    skips = [tokens - isqrt(tokens) ** 2] if prefix is None else [prefix, 0]
    squares = [n for n in skips if tokens > n and isqrt(tokens - n) ** 2 == tokens - n]
    return HookPoint(call.layer, call.index, "tokens", squares[0]) if squares else None
