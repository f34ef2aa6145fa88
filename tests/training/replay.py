"""A CUDA graph, emulated on a CPU: what a recording holds and what it does not.

Each operation is noted below autograd, with the tensors that it read and those that it made. To
replay is to do the same operations again, on the same tensors and with the same plain numbers;
Python is not asked again. So a number that changes from step to step without lying in a tensor is
seen: the replayed steps go on with the one that was recorded.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.training.cuda_graphs import Call, Replay


def tensors(of: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(of) if isinstance(leaf, Tensor)]


class Notes(TorchDispatchMode):
    """Does every operation, and notes it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Callable[..., Any], Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        self.steps.append((func, args, kwargs, tensors(made)))
        return made

    @torch.no_grad()
    def replay(self) -> None:
        """Do all that was noted again."""
        for func, args, kwargs, made in self.steps:
            read = {x.untyped_storage().data_ptr() for x in tensors((args, kwargs))}
            again = tensors(func(*args, **kwargs))
            for old, new in zip(made, again, strict=True):
                if old.untyped_storage().data_ptr() not in read:  # neither a view nor in place
                    old.copy_(new)


def record(call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
    """As `bench.training.cuda_graphs.Cuda`; here the recording is the first replay as well."""
    with Notes() as notes:
        made = call()
    replays = iter([lambda: None])
    return made, lambda: next(replays, notes.replay)()
