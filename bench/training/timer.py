"""Time spent on one thing among others, without waiting for the device."""

import time
from types import TracebackType

import torch


class Clock:
    """Adds up the seconds inside its `with` blocks: wall time, or the device's own on CUDA."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._total = 0.0

    def __enter__(self) -> None:
        if self._cuda:
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._events.append(pair)
            pair[0].record()
        else:
            self._start = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._cuda:
            self._events[-1][1].record()
        else:
            self._total += time.perf_counter() - self._start

    def seconds(self) -> float:
        """The sum since the last call; on CUDA this waits for the device."""
        if self._cuda and self._events:
            self._events[-1][1].synchronize()
            self._total = sum(start.elapsed_time(end) for start, end in self._events) / 1000
            self._events.clear()
        total, self._total = self._total, 0.0
        return total
