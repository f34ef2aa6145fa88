"""Finding the stages of a network that was not written for this project, by one dry run.

Every layer's output is noted in the order in which the layers finish. A stage is the last map of
its resolution, (B, C, H, W) or channels last; maps within a block (squeeze and excitation, the
expansion before a stride) end no stage. A first stage of a single convolution is the stem: it is
left out when two or more stages follow. A network that lists its stages itself
(timm's `feature_info`) is believed. Transformers: the patch tokens (B, N, D) of four blocks,
evenly spaced to the last, are laid out as maps (B, D, h, w); class tokens are left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from bench.errors import BenchError
from bench.models import dry
from bench.models.calls import Call, observed, side
from distillers import Features

TRANSFORMER_STAGES = 4


@dataclass(frozen=True)
class Tap:
    """Where to read one tensor: a call of a layer, and how its numbers are laid out."""

    layer: str
    nth: int
    layout: Literal["channels first", "channels last", "tokens"]
    prefix: int = 0  # leading tokens that are no patches


@dataclass(frozen=True)
class Taps:
    """All that is read of a network: its stages' outputs and its classifier's input."""

    stages: tuple[Tap, ...]
    classifier: Tap


def find(net: nn.Module, size: int) -> Taps | None:
    """Where to read a network on images of this size; None if it returns `Features` by itself.

    Raises BenchError for a network that returns neither logits (B, K) nor `Features`, whose
    classifier is not a layer, or that cannot take such images.
    """
    calls, output = observed(dry.copied(net, size), size)
    if isinstance(output, Features):
        return None
    name = type(net).__name__
    logits = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise BenchError(f"{name} returns neither logits (B, K) nor distillers.Features")
    end = classifier(calls, logits.shape[1])
    if end is None:
        raise BenchError(
            f"{name} has no linear or convolutional layer that makes its {logits.shape[1]} logits: "
            "what its classifier reads is unknown. Let it return distillers.Features"
        )
    last = calls[end]
    first = isinstance(last.module, nn.Conv2d)
    tap = Tap(last.layer, last.nth, "channels first" if first else "channels last")
    return Taps(stages(net, calls[:end]), tap)


def classifier(calls: Sequence[Call], classes: int) -> int | None:
    """The place of the last linear layer with that many outputs, else of the last convolution."""
    for kind, channel in ((nn.Linear, -1), (nn.Conv2d, 1)):
        for place in reversed(range(len(calls))):
            if isinstance(calls[place].module, kind) and calls[place].shape[channel] == classes:
                return place
    return None


def stages(net: nn.Module, calls: Sequence[Call]) -> tuple[Tap, ...]:
    """The stages among the calls before the classifier; none where nothing looks like a map."""
    prefix = getattr(net, "num_prefix_tokens", None)
    for ends in (listed(net, calls), blocks(calls), resolutions(calls)):
        taps = [tap for call in ends if (tap := located(call, prefix))]
        if not ends or len(taps) < len(ends):
            continue
        stem = len(taps) > 2 and ends[0].weighted <= 1
        return tuple(taps[1:] if stem else taps)
    return ()


def listed(net: nn.Module, calls: Sequence[Call]) -> Sequence[Call]:
    """The calls that the network's own list of stages names."""
    info = getattr(net, "feature_info", None)
    names = [entry.get("module") for entry in info] if isinstance(info, list) else []
    last = {call.layer: call for call in calls}
    ends = [last[name] for name in names if name in last]
    if len(ends) < len(names):
        return ()
    same = len({call.shape for call in ends}) == 1
    return evenly(ends) if same else ends


def blocks(calls: Sequence[Call]) -> Sequence[Call]:
    """A transformer's blocks: brothers of one class, all (B, N, D) alike, with no map after."""
    start = max((place for place, call in enumerate(calls) if call.ends), default=-1) + 1
    rows: dict[tuple[str, type, tuple[int, ...]], list[Call]] = {}
    for call in calls[start:]:
        if len(call.shape) == 3:
            parent = call.layer.rpartition(".")[0]
            rows.setdefault((parent, type(call.module), call.shape), []).append(call)
    rows = {key: row for key, row in rows.items() if len(row) > 1}
    if not rows:
        return ()
    return evenly(rows[min(rows, key=lambda key: key[0].count(".") if key[0] else -1)])


def evenly(row: Sequence[Call]) -> Sequence[Call]:
    """At most four of a row, evenly spaced, the last included."""
    count = min(len(row), TRANSFORMER_STAGES)
    return [row[(i + 1) * len(row) // count - 1] for i in range(count)]


def resolutions(calls: Sequence[Call]) -> Sequence[Call]:
    """The last map of each resolution, up to the pooling that no larger map follows."""
    ends: list[Call] = []
    for place, call in reversed(list(enumerate(before_pooling(calls)))):
        floor = side(ends[-1].shape) if ends else 0
        around = (later for later in calls[place + 1 :] if later.start <= place)
        if (
            call.ends
            and side(call.shape) > floor
            and not any(inside(call, block, floor) for block in around)
        ):
            ends.append(call)
    return ends[::-1]


def inside(call: Call, block: Call, floor: int) -> bool:
    """Whether a call is part of a block that itself ends at the next lower resolution.

    Such a call, as the expansion in a strided MobileNet block, does not end the stage before; a
    plain sequence, or a whole trunk that spans several resolutions, is no block.
    """
    own = side(call.shape)
    trunk = block.start == 0 or type(block.module) is nn.Sequential
    return not trunk and side(block.given) <= own and floor <= side(block.shape) < own


def before_pooling(calls: Sequence[Call]) -> Sequence[Call]:
    """The calls up to the global pooling layer, all if there is none.

    Global is the last adaptive pooling to 1 x 1 that is not part of a block that returns a map.
    """
    for place, call in reversed(list(enumerate(calls))):
        if call.ends and side(call.shape) > 1:
            break
        adaptive = "Adaptive" in type(call.module).__name__ and call.pools
        around = (later for later in calls[place + 1 :] if later.start <= place)
        block = any(later.ends and type(later.module) is not nn.Sequential for later in around)
        if adaptive and call.shape[2:] in ((), (1, 1)) and not block:
            return calls[:place]
    return calls


def located(call: Call, prefix: int | None) -> Tap | None:
    """The tap of a call, or None if its output cannot be laid out as a square map."""
    if side(call.shape):
        first = call.shape[2] == call.shape[3]
        return Tap(call.layer, call.nth, "channels first" if first else "channels last")
    if len(call.shape) != 3:
        return None
    tokens = call.shape[1]
    skip = tokens - math.isqrt(tokens) ** 2 if prefix is None else prefix
    square = tokens > skip and math.isqrt(tokens - skip) ** 2 == tokens - skip
    return Tap(call.layer, call.nth, "tokens", skip) if square else None
