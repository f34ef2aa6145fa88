"""CUDA graphs emulated on a CPU: which operations a graph contains, and that it runs no Python.

During the capture every operation below autograd is recorded with its inputs and outputs. A replay
repeats these operations on the same tensors and the same Python numbers. A Python number that
should change from step to step therefore keeps its captured value, and tests see the difference.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.training.cuda_graphs import Call, Replay


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Recording(TorchDispatchMode):
    """Runs every operation and records it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable[..., Any], Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, tensors(outputs)))
        return outputs

    @torch.no_grad()
    def replay(self) -> None:
        """Repeat all recorded operations."""
        for func, args, kwargs, outputs in self.operations:
            inputs = {x.untyped_storage().data_ptr() for x in tensors((args, kwargs))}
            for old, new in zip(outputs, tensors(func(*args, **kwargs)), strict=True):
                if old.untyped_storage().data_ptr() not in inputs:  # neither a view nor in place
                    old.copy_(new)


def capture(call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
    """Capture a call as `CudaCapture` does; here the capture is also the first replay."""
    with Recording() as recording:
        outputs = call()
    replays = iter([lambda: None])
    return outputs, lambda: next(replays, recording.replay)()
