"""One run over several devices: the batch is parted, and the numbers are those of one device.

Each rank runs the networks on its part of a batch. Batch normalisation takes its statistics over
all parts, features are gathered, and every rank computes the whole objective from them: a bank or
a relation between samples never knows of ranks. As the loss is the same on all, a rank's gradient
is that of its own part of the features, and the network's is the sum over ranks.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from distillers import Features

PATIENCE = timedelta(seconds=10)  # between ranks that come upon the same error
TIMEOUT = timedelta(minutes=30)  # of a collective, and for data and networks to be made


@dataclass(frozen=True)
class Share:
    """One of `ranks` processes, each with a device of its own; alone unless it is said."""

    rank: int = 0
    ranks: int = 1

    def parts(self, count: int) -> list[slice]:
        """The parts of a batch of `count`, one a rank, in order; sizes differ by at most one."""
        ranks = self.ranks if count >= self.ranks else 1
        ends = [count * rank // ranks for rank in range(ranks + 1)]
        return [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]

    def own(self, count: int) -> slice:
        """The rank's part of a batch of `count`."""
        parts = self.parts(count)
        return parts[self.rank % len(parts)]


class Sharded:
    """What a rank does with its share, and tells the others; alone, nothing at all.

    torch.distributed's default group has to be there, of as many ranks as the share says.
    """

    def __init__(self, share: Share) -> None:
        self.share = share

    def statistics(self, count: int) -> AbstractContextManager[object]:
        """Inside, batch normalisation in training sees all parts of a batch of `count`."""
        sizes = tuple(part.stop - part.start for part in self.share.parts(count))
        return WholeBatch(sizes, self.share.rank) if len(sizes) > 1 else nullcontext()

    def whole(self, features: Features, count: int, *, stages: bool) -> Features:
        """The features of the whole batch of `count`, from those of its parts.

        Without `stages`, which are large, there are none.
        """
        if len(self.share.parts(count)) == 1:
            return features
        maps = tuple(self.gathered(stage, count) for stage in features.stages if stages)
        pooled, logits = (self.gathered(x, count) for x in (features.pooled, features.logits))
        return Features(maps, pooled, logits)

    def gathered(self, part: Tensor, count: int) -> Tensor:
        """All parts (b, …) of a batch of `count`, in order: (B, …)."""
        parts = self.share.parts(count)
        if len(parts) == 1:
            return part
        whole: Tensor = Gathered.apply(part, parts, self.share.rank)
        return whole

    def sum_gradients(self, parameters: Iterable[Tensor], count: int) -> None:
        """Give the parameters of a parted network the gradient of the whole batch of `count`."""
        if self.share.ranks == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        if len(self.share.parts(count)) == 1:  # too few to part: each rank had the whole batch
            flat /= self.share.ranks
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))

    @torch.no_grad()
    def level(self, tensors: Iterable[Tensor]) -> None:
        """Make each tensor that of the first rank: what is computed twice may drift in its bits."""
        if self.share.ranks > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    @contextmanager
    def first_then_others(self) -> Iterator[None]:
        """Inside, the other ranks find what the first has put in order."""
        if self.share.rank:
            _store().wait(["first"], TIMEOUT)
        yield
        if self.share.ranks > 1 and not self.share.rank:
            _store().set("first", "")

    def agreed(self, on: str, said: str = "", patience: timedelta = PATIENCE) -> bool:
        """Whether all ranks say the same of something, each of them once; waits for all."""
        if self.share.ranks == 1:
            return True
        store, names = _store(), [f"{on}/{rank}" for rank in range(self.share.ranks)]
        store.set(names[self.share.rank], said)
        try:
            store.wait(names, patience)
        except RuntimeError:
            return False
        return all(store.get(name) == said.encode() for name in names)

    def leave(self) -> None:
        """Part from the other ranks, as they do."""
        if self.share.ranks > 1:
            dist.destroy_process_group()


class Summed(torch.autograd.Function):
    """The sum over ranks; so is its gradient, since each rank's part of the loss depends on it.

    That of torch.distributed.nn is deprecated, and what it should be replaced by is private.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """The sum of every rank's tensor."""
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum of every rank's gradient."""
        return Summed.forward(None, gradient)


class Gathered(torch.autograd.Function):
    """All ranks' parts. Its gradient is a slice: the loss behind it is one, and each rank has it.

    That of torch.distributed.nn would add up the gradients of one loss for each rank.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, parts: Sequence[slice], rank: int) -> Tensor:
        """The whole (B, …) of part (b, …)."""
        ctx.own = parts[rank]
        sizes = [of.stop - of.start for of in parts]
        padded = F.pad(part, (0, 0) * (part.dim() - 1) + (0, max(sizes) - len(part)))
        every = part.new_empty(len(parts) * len(padded), *part.shape[1:])
        dist.all_gather_into_tensor(every, padded.contiguous())
        pieces = every.view(len(parts), *padded.shape)
        return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, whole: Tensor) -> tuple[Tensor, None, None]:
        """The rank's part of the gradient."""
        return whole[ctx.own], None, None


class WholeBatch(TorchFunctionMode):
    """Inside, `F.batch_norm` in training takes mean and variance over the parts of all ranks.

    Whatever module calls it keeps its names and its running statistics, which are the same on all
    ranks. torch's SyncBatchNorm is a module to be put in the place of others, and for CUDA only.
    """

    def __init__(self, sizes: tuple[int, ...], rank: int) -> None:
        super().__init__()
        self.sizes, self.rank = sizes, rank

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The call as it is, but for batch normalisation in training."""
        kwargs = kwargs or {}
        if func is F.batch_norm and kwargs["training"]:
            return self.normalised(*args, **kwargs)
        return func(*args, **kwargs)

    def normalised(
        self, part: Tensor, mean: Tensor | None, var: Tensor | None, **how: Any
    ) -> Tensor:
        """The part (b, C, …), as batch normalisation of the whole batch gives it."""
        x = part.to(torch.promote_types(part.dtype, torch.float32))
        now, spread = self.moments(x)
        if mean is not None and var is not None:
            with torch.no_grad():
                count = sum(self.sizes) * x[0, 0].numel()
                mean.lerp_(now.to(mean.dtype), how["momentum"])
                var.lerp_((spread * (count / (count - 1))).to(var.dtype), how["momentum"])
        scale = (spread + how["eps"]).rsqrt()
        if how["weight"] is not None:
            scale = scale * how["weight"]
        shift = -now * scale
        if how["bias"] is not None:
            shift = shift + how["bias"]
        shape = (1, -1, *[1] * (x.dim() - 2))
        return torch.addcmul(shift.view(shape), x, scale.view(shape)).to(part.dtype)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance (C,) of all parts, from those of each: x is (b, C, …)."""
        var, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
        around = (0, 0, 0, 0, self.rank, len(self.sizes) - 1 - self.rank)
        own = F.pad(torch.stack([mean, var])[None], around)  # (ranks, 2, C)
        every = Summed.apply(own)
        weights = _weights(self.sizes, x.device, x.dtype)
        means, vars_ = every.unbind(1)
        mean = (weights * means).sum(0)
        return mean, (weights * (vars_ + (means - mean).square())).sum(0)


@cache
def _weights(sizes: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The share (ranks, 1) of each part in the whole."""
    return torch.tensor(sizes, device=device, dtype=dtype)[:, None] / sum(sizes)


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()
