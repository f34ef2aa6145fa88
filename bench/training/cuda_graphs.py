"""CUDA graphs: the CPU launches all operations of a training step at once.

A captured graph repeats the GPU's operations on the same tensors and runs no Python. Every number
that changes between steps must therefore be in one of these tensors. A step on different tensors,
such as an epoch's smaller last batch, runs without the graph.
"""

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.results.environment import is_out_of_memory
from distillers import Batch

Call = Callable[..., Any]
Replay = Callable[[], object]
Capture = Callable[[Call, Sequence[torch.Generator]], tuple[Any, Replay]]
WARMUP_CALLS = 3  # ordinary calls, in which libraries choose kernels and optimisers create state


class CaptureError(RuntimeError):
    """CUDA could not capture a call; the process cannot use CUDA afterwards."""


class CudaCapture:
    """Captures calls as CUDA graphs that share one memory pool.

    A graph's outputs are valid only until another graph is replayed, because the replay may write
    to the same memory.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        """Capture a call as a CUDA graph.

        Args:
            call: A function without arguments.
            streams: Random generators that the call uses, besides torch's default generator.

        Returns:
            The call's outputs, whose tensors have no values yet, and a function that replays the
            graph to compute the values.

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

    From then on, a call with these tensors replays the graph. The replay returns the same output
    tensors with new numbers. A call with different tensors runs the function without the graph.

    Args:
        call: The function.
        capture: Captures the function as a graph, such as `CudaCapture()`.
        streams: Random generators that the function uses, besides torch's default generator.

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
        """Run the function or replay its graph; return the outputs."""
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


class Views(NamedTuple):
    """A batch as the student and the teacher see it.

    Attributes:
        images: The student's images, (B, 3, H, W).
        batch: Labels and indices of the images.
        strong: The strong view of the student's images; None: no view.
        taught: The teacher's images; the student's own tensor if both have the same view.
        taught_strong: The strong view of the teacher's images; None: no view.
    """

    images: Tensor
    batch: Batch
    strong: Tensor | None
    taught: Tensor
    taught_strong: Tensor | None


class StaticBatch:
    """Copies each full batch into the same tensors, because a CUDA graph reads fixed tensors.

    Args:
        size: Number of images in a full batch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._buffers: dict[str, Tensor] = {}
        self._batch: Batch | None = None

    def __call__(self, views: Views) -> Views:
        """Return a full batch as a copy in the fixed tensors; return a smaller batch unchanged."""
        if len(views.images) != self._size:
            return views
        batch = views.batch
        labels, index = self._copy("labels", batch.labels), self._copy("index", batch.index)
        targets = None if batch.targets is None else self._copy("targets", batch.targets)
        self._batch = self._batch or Batch(labels, index, targets=targets)
        images = self._copy("images", views.images)
        strong = self._copy_view("strong", views.strong)
        if views.taught is views.images:
            return Views(images, self._batch, strong, images, strong)
        taught = self._copy("taught", views.taught)
        return Views(
            images, self._batch, strong, taught, self._copy_view("taught", views.taught_strong)
        )

    def _copy_view(self, name: str, view: Tensor | None) -> Tensor | None:
        return None if view is None else self._copy(f"{name} view", view)

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        if name not in self._buffers:
            self._buffers[name] = tensor.clone()
        return self._buffers[name].copy_(tensor)
