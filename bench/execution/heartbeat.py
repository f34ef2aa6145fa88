"""Heartbeats of a worker: events that tell the executor that batches are being processed."""

import time
from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor

from bench.data import Augment, Data, Split
from bench.execution.protocol import Emit
from distillers import Batch

INTERVAL_S = 1.0  # between two heartbeats, at least

T = TypeVar("T")


class Heartbeat:
    """A data set that emits heartbeats while its batches are read.

    Args:
        data: The data set.
        emit: Function that sends an event to the parent.
    """

    def __init__(self, data: Data, emit: Emit) -> None:
        self.facts, self.train_labels = data.facts, data.train_labels
        self._data, self._emit = data, emit
        self._last = float("-inf")

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """Yield the batches of an epoch."""
        return self._watched(self._data.epoch(seed, epoch, batch_size, augment))

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of a split."""
        return self._watched(self._data.evaluation(split, batch_size))

    def _watched(self, batches: Iterator[T]) -> Iterator[T]:
        for batch in batches:
            now = time.monotonic()
            if now - self._last >= INTERVAL_S:
                self._last = now
                self._emit({"event": "heartbeat"})
            yield batch
