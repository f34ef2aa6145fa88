"""Running a network for its shapes alone, without changing it."""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError

BATCH = 2  # images in a dry run; more than one, so that no network squeezes the batch away
SMALL = 64  # a side up to which it is quicker to compute than to load what torch does without


def copied(net: nn.Module, size: int) -> nn.Module:
    """Return a copy in evaluation mode, for `run` with images of that size.

    Unless they are small, and the network has all its numbers, the copy has none: its parameters
    and buffers lie on the meta device. Its batch normalisation then hands on what it is given,
    which has the right shape already: torch takes seconds to find that out. Raises BenchError for
    a network that Python cannot copy.
    """
    numbers = size <= SMALL and not any(p.is_meta for p in (*net.parameters(), *net.buffers()))
    try:
        return copy.deepcopy(net).cpu().eval() if numbers else _hollow(net).eval()
    except (RuntimeError, TypeError) as error:
        raise BenchError(f"{type(net).__name__} cannot be copied: {error}") from error


def _hollow(net: nn.Module) -> nn.Module:
    empty: dict[int, Any] = {}
    for parameter in net.parameters():
        stripped = torch.empty_like(parameter, device="meta")
        empty[id(parameter)] = nn.Parameter(stripped, parameter.requires_grad)
    for buffer in net.buffers():
        empty[id(buffer)] = torch.empty_like(buffer, device="meta")
    hollow = copy.deepcopy(net, empty)
    for layer in hollow.modules():
        if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            layer.forward = partial(_unchanged, layer.num_features)  # type: ignore[arg-type]
    return hollow


def _unchanged(channels: int, x: Tensor) -> Tensor:
    if x.shape[1] != channels:
        raise ValueError(f"batch normalisation of {channels} channels was given {x.shape[1]}")
    return x


def run(net: nn.Module, size: int) -> Any:
    """Return what a copied network makes of two images of 3 x size x size.

    Raises BenchError where the network cannot take images of that size.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _device(net):
        try:
            return net(torch.zeros(BATCH, 3, size, size))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise BenchError(
                f"{type(net).__name__} cannot take images of 3 x {size} x {size}: {reason}"
            ) from error


def _device(net: nn.Module) -> torch.device:
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


def elements(x: Tensor) -> int:
    """How many numbers one image has in x (B, …)."""
    return x.numel() // BATCH
