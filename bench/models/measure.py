"""The shapes of a network's features and its cost, known before it sees an image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.errors import BenchError
from bench.models import dry_run
from bench.models.base import Cost
from bench.models.wrapper import FeatureExtractor
from distillers import Features, Shapes

aten = torch.ops.aten
# Products with weights. Attention's products run as other operations, which depend on the device.
COUNTED = (aten.convolution, aten.addmm, aten.mm)


def shapes(net: nn.Module, size: int) -> Shapes:
    """Return the shapes of a network's features, from a dry run of a copy.

    Weights, buffers, mode and random generators of the network do not change.

    Args:
        net: a network that `bench.models.build` returned.
        size: side S of its images in pixels.

    Returns:
        The shapes (C, H, W) of its stages, its pooled width D and its number of logits K.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S), or does not return `Features`.

    """
    if isinstance(net, FeatureExtractor):
        net.hook_points(size)  # found once, then used in training
    features = dry_run.run(dry_run.copy_network(net, size), size)
    if not isinstance(features, Features):
        raise BenchError(f"{type(net).__name__} does not return distillers.Features")
    stages = tuple((s.shape[1], s.shape[2], s.shape[3]) for s in features.stages)
    return Shapes(stages, features.pooled.shape[1], features.logits.shape[1])


def cost(net: nn.Module, size: int) -> Cost:
    """Return the parameters of a network and its multiply-adds for one image, from a dry run.

    Args:
        net: a network that `bench.models.build` returned; it does not change.
        size: side S of its images in pixels.

    Raises:
        BenchError: the network cannot take images (B, 3, S, S).

    """
    plain = net.network if isinstance(net, FeatureExtractor) else net
    copied = dry_run.copy_network(plain, size)
    with _unfused_attention(), _FlopCounter() as counter:
        dry_run.run(copied, size)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return Cost(parameters, counter.flops // (2 * dry_run.BATCH))


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count floating-point operations with the formulas of torch's FlopCounterMode.

    FlopCounterMode itself imports torch._dynamo, which takes 4 s of processor time; `bench plan`
    without it takes as long in all.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch._dynamo is imported to disable it

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operation = func._overloadpacket
        if operation in COUNTED:
            formula: Callable[..., int] = flop_registry[operation]
            self.flops += formula(*args, **kwargs, out_val=result)
        return result


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Let nn.MultiheadAttention call the operations that have a formula, also on the CPU."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
