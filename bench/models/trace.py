"""The output of every layer of a network, recorded in a dry run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from bench.models import dry_run

TRANSPARENT = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Softmax)  # their outputs end no stage


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer in the dry run."""

    layer: str  # the layer's name in the network
    index: int  # of this call among the calls of its layer
    module: nn.Module
    input_shape: tuple[int, ...]  # () if the input is not one tensor
    shape: tuple[int, ...]  # (B, ...), of its output
    start: int  # calls that had finished when it began
    weighted: int  # convolutions and linear layers that had finished when it did

    @property
    def is_pooling(self) -> bool:
        """Whether the layer pools."""
        return "Pool" in type(self.module).__name__

    @property
    def can_end_stage(self) -> bool:
        """Whether a stage may end with its output."""
        is_map = map_side(self.shape) > 0
        return is_map and not self.is_pooling and not isinstance(self.module, TRANSPARENT)


def map_side(shape: Sequence[int]) -> int:
    """Return the side of a square map (B, C, H, W) or (B, H, W, C), 0 for all other shapes."""
    if len(shape) != 4:
        return 0
    _, first, second, third = shape
    return second if second in (first, third) else 0


def trace(net: nn.Module, size: int) -> tuple[list[LayerCall], Any]:
    """Run a network once and record its layers.

    Args:
        net: a copy that `dry_run.copied` made; hooks are left on it.
        size: side S of the images.

    Returns:
        The calls of layers that return a tensor (B, ...), in the order in which they finish, and
        the output of the network.

    """
    calls: list[LayerCall] = []
    starts: list[int] = []
    times: Counter[str] = Counter()
    weighted = 0

    def begin(_: nn.Module, __: object) -> None:
        starts.append(len(calls))

    def end(module: nn.Module, inputs: tuple[object, ...], output: object, *, layer: str) -> None:
        nonlocal weighted
        start = starts.pop()
        weighted += isinstance(module, nn.Conv2d | nn.Linear)
        if isinstance(output, Tensor) and output.dim() > 1 and len(output) == dry_run.BATCH:
            source = tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()
            shape = tuple(output.shape)
            calls.append(LayerCall(layer, times[layer], module, source, shape, start, weighted))
        times[layer] += 1

    for layer, module in net.named_modules():
        if layer:
            module.register_forward_pre_hook(begin)
            module.register_forward_hook(partial(end, layer=layer))
    output = dry_run.run(net, size)
    return calls, output
