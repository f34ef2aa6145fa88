"""Running a network without numbers: only shapes, no memory, no arithmetic, nothing changed."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError

BATCH = 2  # images in a dry run; more than one, so that no network squeezes the batch away


def hollow(net: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose parameters and buffers are on the meta device.

    Raises BenchError for a network that Python cannot copy.
    """
    empty: dict[int, Any] = {}
    for parameter in net.parameters():
        stripped = torch.empty_like(parameter, device="meta")
        empty[id(parameter)] = nn.Parameter(stripped, parameter.requires_grad)
    for buffer in net.buffers():
        empty[id(buffer)] = torch.empty_like(buffer, device="meta")
    try:
        return copy.deepcopy(net, empty).eval()
    except (RuntimeError, TypeError) as error:
        raise BenchError(f"{type(net).__name__} cannot be copied: {error}") from error


def run(net: nn.Module, size: int) -> Any:
    """Return what a hollow network makes of two images of 3 x size x size, as meta tensors.

    Raises BenchError where the network cannot take images of that size.
    """
    with torch.no_grad(), torch.device("meta"):
        try:
            return net(torch.empty(BATCH, 3, size, size))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise BenchError(
                f"{type(net).__name__} cannot take images of 3 x {size} x {size}: {reason}"
            ) from error


def elements(x: Tensor) -> int:
    """How many numbers one image has in x (B, …)."""
    return x.numel() // BATCH
