"""CUDA graphs: a step that the host launches as one, on tensors that stay where they are.

A recording holds what the device was told, and no Python: whatever changes from step to step has
to lie in a tensor. Steps on other tensors than the recorded ones, as an epoch's last and smaller
batch, are done as ever.
"""

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor

from bench.training.oom import exhausted
from distillers import Batch

Call = Callable[..., Any]
Replay = Callable[[], object]
Record = Callable[[Call, Sequence[torch.Generator]], tuple[Any, Replay]]
WARM = 3  # calls before the recorded one: libraries choose kernels, an optimiser makes its state


class Unrecordable(RuntimeError):
    """A call that cannot be recorded. Its process is of no further use to CUDA."""


class Cuda:
    """Records on CUDA, in memory that its recordings share.

    So what one returns holds only until the next is replayed.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        """What a call would return, not yet computed, and a function that computes it."""
        graph = torch.cuda.CUDAGraph()
        for stream in streams:
            graph.register_generator_state(stream)
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                made = call()
        except Exception as error:
            if exhausted(error):
                raise
            said = f"cannot be recorded as a CUDA graph: {type(error).__name__}: {error}"
            raise Unrecordable(said) from error
        return made, graph.replay


class Replayed:
    """A function of tensors, recorded once it was called `WARM` times with the very same ones.

    From then on a call with these replays it, and returns the same tensors with new numbers.
    `streams` are those that it draws random numbers from, but for torch's own.
    """

    def __init__(self, call: Call, record: Record, streams: Sequence[torch.Generator] = ()) -> None:
        self._call, self._record, self._streams = call, record, streams
        self._inputs: tuple[object, ...] = ()
        self._calls = 0
        self._made: Any = None
        self._replay: Replay | None = None

    def __call__(self, *inputs: object) -> Any:
        """Call the function, or what was recorded of it."""
        if len(inputs) != len(self._inputs) or not all(map(is_, inputs, self._inputs)):
            if self._replay is None:
                self._inputs, self._calls = inputs, 1
            return self._call(*inputs)
        if self._replay is None:
            self._calls += 1
            if self._calls <= WARM:
                return self._call(*inputs)
            recorded = self._record(lambda: self._call(*inputs), self._streams)
            self._made, self._replay = recorded
        self._replay()
        return self._made


class Still:
    """Puts every full batch into the same tensors."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: tuple[Tensor, Batch] | None = None

    def __call__(self, images: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        """A batch as it is handed on; a smaller one as it came."""
        if len(images) != self._size:
            return images, batch
        if self._held is None:
            self._held = images.clone(), Batch(batch.labels.clone(), batch.index.clone())
        held, of = self._held
        held.copy_(images)
        of.labels.copy_(batch.labels)
        of.index.copy_(batch.index)
        return self._held
