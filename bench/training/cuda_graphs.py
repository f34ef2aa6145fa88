"""CUDA graphs: a training step that the host launches as one operation on fixed tensors.

A captured graph repeats the device's operations and runs no Python. Every number that changes
from step to step must therefore be in a tensor. A step on other tensors than the captured ones,
such as an epoch's smaller last batch, runs without the graph.
"""

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor

from bench.results.environment import is_out_of_memory
from distillers import Batch

Call = Callable[..., Any]
Replay = Callable[[], object]
Capture = Callable[[Call, Sequence[torch.Generator]], tuple[Any, Replay]]
WARMUP_CALLS = 3  # before the capture: libraries choose kernels, the optimiser creates its state


class CaptureError(RuntimeError):
    """A call that CUDA cannot capture; its process cannot use CUDA afterwards."""


class CudaCapture:
    """Capture of calls as CUDA graphs that share one memory pool.

    The outputs of one graph are therefore valid only until another graph of the pool is replayed.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        """Capture a call.

        Args:
            call: A function without arguments.
            streams: Random generators that it uses, in addition to the default one.

        Returns:
            The call's outputs, not yet computed, and a function that computes them.

        Raises:
            CaptureError: The call waits for the device or does something else that a graph cannot
                contain.
        """
        graph = torch.cuda.CUDAGraph()
        for stream in streams:
            graph.register_generator_state(stream)
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = call()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            message = f"cannot be captured as a CUDA graph: {type(error).__name__}: {error}"
            raise CaptureError(message) from error
        return outputs, graph.replay


class GraphedStep:
    """A function of tensors that is captured after `WARMUP_CALLS` calls with the same tensors.

    From then on, a call with these tensors replays the graph and returns the same output tensors
    with new numbers. A call with other tensors runs the function.

    Args:
        call: The function.
        capture: Captures it, such as `CudaCapture()`.
        streams: Random generators that it uses, in addition to the default one.

    Attributes:
        captured: Whether the function has been captured.
    """

    def __init__(
        self, call: Call, capture: Capture, streams: Sequence[torch.Generator] = ()
    ) -> None:
        self._call, self._capture, self._streams = call, capture, streams
        self._inputs: tuple[object, ...] = ()
        self._calls = 0
        self._outputs: Any = None
        self._replay: Replay | None = None

    @property
    def captured(self) -> bool:
        """Whether the function has been captured."""
        return self._replay is not None

    def __call__(self, *inputs: object) -> Any:
        """Run the function, or replay its graph."""
        if len(inputs) != len(self._inputs) or not all(map(is_, inputs, self._inputs)):
            if self._replay is None:
                self._inputs, self._calls = inputs, 1
            return self._call(*inputs)
        if self._replay is None:
            self._calls += 1
            if self._calls <= WARMUP_CALLS:
                return self._call(*inputs)
            self._outputs, self._replay = self._capture(lambda: self._call(*inputs), self._streams)
        self._replay()
        return self._outputs


class StaticBatch:
    """Fixed tensors that hold every full batch in turn.

    Args:
        size: Images in a full batch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._buffers: tuple[Tensor, Batch] | None = None

    def __call__(self, images: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        """Return the batch in fixed tensors; return a smaller batch unchanged.

        Args:
            images: (B, 3, H, W).
            batch: Labels and indices of the images.
        """
        if len(images) != self._size:
            return images, batch
        if self._buffers is None:
            self._buffers = images.clone(), Batch(batch.labels.clone(), batch.index.clone())
        fixed_images, fixed_batch = self._buffers
        fixed_images.copy_(images)
        fixed_batch.labels.copy_(batch.labels)
        fixed_batch.index.copy_(batch.index)
        return self._buffers
