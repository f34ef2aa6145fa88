"""Measure a network by a dry run: one forward pass of a copy, so that the network does not change.

`run` returns the copy's output. `trace` also lists all calls of layers. `count_multiply_adds`
returns the number of multiply-adds for one image.
"""

import copy
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.errors import BenchError

TORCH = Path(torch.__file__).parent
BATCH = 2  # images in a dry run; in a batch of 1, `squeeze` would remove the batch dimension
# In pixels. For larger images, the meta device is faster than the CPU, although torch must first
# import the meta device's kernels.
MAX_COMPUTED_SIDE = 64
aten = torch.ops.aten
# Convolutions and matrix products with weights. In attention, other operations multiply queries,
# keys and values. These operations differ between devices and are not counted.
COUNTED = (aten.convolution, aten.addmm, aten.mm)
TRANSPARENT = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Softmax)  # these layers end no stage


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer in the dry run."""

    layer: str  # the layer's name in the network
    index: int  # number of this call among the calls of the same layer, from 0
    module: nn.Module
    input_shape: tuple[int, ...]  # () if the input is not one tensor
    shape: tuple[int, ...]  # shape (B, ...) of the output
    start: int  # number of recorded calls that had ended when this call began
    weighted: int  # number of convolutions and linear layers that had ended when this call ended
    is_pooling: bool = False  # whether a pooling layer computed the output

    @property
    def can_end_stage(self) -> bool:
        """Whether the output of this call may be the last feature map of a stage."""
        is_map = map_side(self.shape) > 0
        return is_map and not self.is_pooling and not isinstance(self.module, TRANSPARENT)


def map_side(shape: Sequence[int]) -> int:
    """Return the side H = W of a map (B, C, H, W) or (B, H, W, C); 0 for all other shapes."""
    if len(shape) != 4:
        return 0
    _, first, second, third = shape
    return second if second in (first, third) else 0


def copy_network(net: nn.Module, size: int) -> nn.Module:
    """Return a copy of a network in evaluation mode, for a dry run with images of one size.

    For images of at most `MAX_COMPUTED_SIDE` pixels per side, the copy is on the CPU. For larger
    images, the copy is on torch's meta device, where tensors have shapes, but no values and no
    memory. The copy is also on the meta device if the network has a tensor there.

    Args:
        net: a network on any device.
        size: side S of the images in pixels.

    Raises:
        BenchError: Python cannot copy the network.

    """
    computed = size <= MAX_COMPUTED_SIDE and not any(tensor.is_meta for tensor in _tensors(net))
    try:
        return copy.deepcopy(net).cpu().eval() if computed else _meta_copy(net).eval()
    except (RuntimeError, TypeError) as error:
        raise BenchError(f"{type(net).__name__} cannot be copied: {error}") from error


def run(net: nn.Module, size: int, call: Callable[[Tensor], Any] | None = None) -> Any:
    """Return the output of a copied network for `BATCH` images of zeros.

    Args:
        net: a copy that `copy_network` made.
        size: side S of the images (BATCH, 3, S, S).
        call: a function that is called with the images and calls the copy; None: the copy.

    Raises:
        BenchError: the network fails for images of this size.

    """
    device = next((tensor.device for tensor in net.parameters()), torch.device("cpu"))
    with torch.no_grad(), torch.random.fork_rng(devices=[]), device:
        try:
            return (call or net)(torch.zeros(BATCH, 3, size, size))
        except (RuntimeError, ValueError, AssertionError, SystemExit) as error:
            reason = str(error).split("\n")[0]
            reason = reason if reason and isinstance(error, Exception) else type(error).__name__
            raise BenchError(
                f"{type(net).__name__} cannot take images of 3 x {size} x {size}: {reason}"
                f"{raised_at(error)}"
            ) from error


def raised_at(error: BaseException) -> str:
    """Return the last place in an error's traceback outside torch and this file: ` (a.py:7)`."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not Path(frame.filename).is_relative_to(TORCH)
    ]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def trace(net: nn.Module, size: int) -> tuple[list[LayerCall], Any]:
    """Run a copied network once and record the calls of its layers.

    Args:
        net: a copy that `copy_network` made; this function adds hooks to the copy, which stay.
        size: side S of the images in pixels.

    Returns:
        The list of all calls that return a tensor (B, ...), in the order in which the calls end;
        and the output of the network.

    """
    calls: list[LayerCall] = []
    starts: list[int] = []
    times: Counter[str] = Counter()
    weighted = 0
    pooled: Tensor | None = None  # output of the last pooling layer

    def begin(_: nn.Module, __: object) -> None:
        starts.append(len(calls))

    def end(module: nn.Module, inputs: tuple[object, ...], output: object, *, layer: str) -> None:
        nonlocal weighted, pooled
        start = starts.pop()
        weighted += isinstance(module, nn.Conv2d | nn.Linear)
        if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
            # a layer may return tokens (B, N, C) and the size of their grid: keep the tokens
            output = output[0] if output[0].dim() == 3 else output
        if isinstance(output, Tensor) and output.dim() > 1 and len(output) == BATCH:
            source = tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()
            if is_pooling := output is pooled or _is_pooling(module):
                pooled = output
            shape = tuple(output.shape)
            calls.append(
                LayerCall(layer, times[layer], module, source, shape, start, weighted, is_pooling)
            )
        times[layer] += 1

    for layer, module in net.named_modules():
        if layer:
            module.register_forward_pre_hook(begin)
            module.register_forward_hook(partial(end, layer=layer))
    output = run(net, size)
    return calls, output


def _is_pooling(module: nn.Module) -> bool:
    has_weights = any(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())
    return "Pool" in type(module).__name__ and not has_weights


def _tensors(net: nn.Module) -> tuple[Tensor, ...]:
    return (*net.parameters(), *net.buffers())


def _meta_copy(net: nn.Module) -> nn.Module:
    copies: dict[int, Any] = {}  # memo for `deepcopy`: id of the original -> its copy
    for tensor in _tensors(net):
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        copies[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(net, copies)


def count_multiply_adds(net: nn.Module, size: int) -> int:
    """Return the multiply-adds of a network for one image; `Cost` lists the counted operations.

    Args:
        net: the network; it is not changed.
        size: side S of the image in pixels.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S).

    """
    copied, counter = copy_network(net, size), _FlopCounter()
    with _unfused_attention(), counter:
        run(copied, size)
    return counter.flops // (2 * BATCH)


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count floating-point operations with the formulas of torch's FlopCounterMode.

    FlopCounterMode itself is not used because it imports torch._dynamo. This import would double
    the time of `bench plan`: it takes 4 s of processor time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # if True, torch would import torch._dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operation = func._overloadpacket
        if operation in COUNTED:
            formula: Callable[..., int] = flop_registry[operation]
            self.flops += formula(*args, **kwargs, out_val=result)
        return result


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Disable the fused kernel of nn.MultiheadAttention, which has no FLOP formula, in a block."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
