"""A worker's signs of life: while batches go by, its parent hears of it."""

import time
from collections.abc import Callable, Iterator

from torch import Tensor

from bench.data import Augment, Data, Split
from bench.execution.protocol import Emit
from distillers import Batch

PAUSE = 1.0  # seconds between two signs, at least


class Pulse:
    """Says `alive` when it is called, unless it has just said so."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._said = float("-inf")

    def __call__(self) -> None:
        """A batch has come."""
        now = time.monotonic()
        if now - self._said >= PAUSE:
            self._said = now
            self._emit({"event": "alive"})


class Pulsing:
    """A data set, each batch of which is a sign of life; in all else as it is."""

    def __init__(self, data: Data, pulse: Callable[[], None]) -> None:
        self.facts, self.train_labels = data.facts, data.train_labels
        self._data, self._pulse = data, pulse

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """The batches of an epoch."""
        for batch in self._data.epoch(seed, epoch, batch_size, augment):
            self._pulse()
            yield batch

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of a split."""
        for batch in self._data.evaluation(split, batch_size):
            self._pulse()
            yield batch
