"""Running a network without numbers: only shapes, no memory, no arithmetic, nothing changed."""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError

BATCH = 2  # images in a dry run; more than one, so that no network squeezes the batch away


def hollow(net: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose parameters and buffers are on the meta device.

    Its batch normalisation hands on what it is given, which has the right shape already: torch
    takes seconds to find that out. Raises BenchError for a network that Python cannot copy.
    """
    empty: dict[int, Any] = {}
    for parameter in net.parameters():
        stripped = torch.empty_like(parameter, device="meta")
        empty[id(parameter)] = nn.Parameter(stripped, parameter.requires_grad)
    for buffer in net.buffers():
        empty[id(buffer)] = torch.empty_like(buffer, device="meta")
    try:
        copied = copy.deepcopy(net, empty).eval()
    except (RuntimeError, TypeError) as error:
        raise BenchError(f"{type(net).__name__} cannot be copied: {error}") from error
    for layer in copied.modules():
        if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            layer.forward = partial(_unchanged, layer.num_features)  # type: ignore[arg-type]
    return copied


def _unchanged(channels: int, x: Tensor) -> Tensor:
    if x.shape[1] != channels:
        raise ValueError(f"batch normalisation of {channels} channels was given {x.shape[1]}")
    return x


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
