"""What every layer of a network returns in a dry run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from bench.models import dry

TRANSPARENT = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Softmax)  # their outputs end no stage


@dataclass(frozen=True)
class Call:
    """One layer's output in the dry run."""

    layer: str
    nth: int
    module: nn.Module
    given: tuple[int, ...]  # shape of its input, if that is one tensor
    shape: tuple[int, ...]  # (B, …), of its output
    start: int  # how many calls were over when it began
    weighted: int  # how many convolutions and linear layers were over when it ended

    @property
    def pools(self) -> bool:
        """Whether it is a pooling layer."""
        return "Pool" in type(self.module).__name__

    @property
    def ends(self) -> bool:
        """Whether a stage may end with its output."""
        return side(self.shape) > 0 and not self.pools and not isinstance(self.module, TRANSPARENT)


def side(shape: Sequence[int]) -> int:
    """The side of a square map (B, C, H, W) or (B, H, W, C), 0 for any other shape."""
    if len(shape) != 4:
        return 0
    _, first, second, third = shape
    return second if second in (first, third) else 0


def observed(net: nn.Module, size: int) -> tuple[list[Call], Any]:
    """Every layer's tensor in a dry run, in the order of finishing, and the network's output."""
    calls: list[Call] = []
    begun: list[int] = []
    times: Counter[str] = Counter()

    def begin(_: nn.Module, __: object) -> None:
        begun.append(len(calls))

    def end(module: nn.Module, given: tuple[object, ...], output: object, *, layer: str) -> None:
        start = begun.pop()
        times[""] += isinstance(module, nn.Conv2d | nn.Linear)
        if isinstance(output, Tensor) and output.dim() > 1 and output.shape[0] == dry.BATCH:
            source = tuple(given[0].shape) if given and isinstance(given[0], Tensor) else ()
            shape = tuple(output.shape)
            calls.append(Call(layer, times[layer], module, source, shape, start, times[""]))
        times[layer] += 1

    for layer, module in net.named_modules():
        if layer:
            module.register_forward_pre_hook(begin)
            module.register_forward_hook(partial(end, layer=layer))
    output = dry.run(net, size)
    return calls, output
