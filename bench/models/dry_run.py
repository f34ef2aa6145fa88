"""One forward pass of a copy of a network, for its shapes alone; the network stays as it is."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError

BATCH = 2  # images in a dry run; more than one, so that no network squeezes the batch away
MAX_COMPUTED_SIDE = 64  # pixels; for larger images, importing torch's meta kernels is quicker


def copied(net: nn.Module, size: int) -> nn.Module:
    """Return a copy of a network in evaluation mode, for `run` with images of that size.

    For images of up to `MAX_COMPUTED_SIDE` pixels the copy is on the CPU and computes. For larger
    images, or if a tensor of the network is on the meta device, all of the copy is on the meta
    device: its tensors have shapes, but no memory.

    Args:
        net: a network on any device.
        size: side S of its images in pixels.

    Raises:
        BenchError: Python cannot copy the network.

    """
    computed = size <= MAX_COMPUTED_SIDE and not any(tensor.is_meta for tensor in _tensors(net))
    try:
        return copy.deepcopy(net).cpu().eval() if computed else _meta_copy(net).eval()
    except (RuntimeError, TypeError) as error:
        raise BenchError(f"{type(net).__name__} cannot be copied: {error}") from error


def run(net: nn.Module, size: int) -> Any:
    """Return the output of a copied network for `BATCH` black images.

    Args:
        net: what `copied` returned.
        size: side S of the images (BATCH, 3, S, S).

    Raises:
        BenchError: the network cannot take images of that size.

    """
    device = next((tensor.device for tensor in net.parameters()), torch.device("cpu"))
    with torch.no_grad(), torch.random.fork_rng(devices=[]), device:
        try:
            return net(torch.zeros(BATCH, 3, size, size))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise BenchError(
                f"{type(net).__name__} cannot take images of 3 x {size} x {size}: {reason}"
            ) from error


def _tensors(net: nn.Module) -> tuple[Tensor, ...]:
    return (*net.parameters(), *net.buffers())


def _meta_copy(net: nn.Module) -> nn.Module:
    copies: dict[int, Any] = {}  # by the id of the original, as `deepcopy` reads it
    for tensor in _tensors(net):
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        copies[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(net, copies)
