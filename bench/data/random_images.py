"""Random images that replace a data set, to measure speeds without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import distillers
from bench.data.base import Augment, Facts
from bench.lazy import torch

if TYPE_CHECKING:
    from distillers import Batch


class RandomImages:
    """Random images that replace a data set: the same numbers of images and classes, same size.

    Args:
        facts: Facts of the replaced data set, such as its number of classes.
        device: Device of the images.
    """

    def __init__(self, facts: Facts, device: torch.device) -> None:
        self.facts = facts
        self.counts: Mapping[str, int] = {}
        self.train_labels = facts.train_labels().to(device)

    def batch(self, size: int) -> tuple[torch.Tensor, Batch]:
        """Return B = `size` random images (B, 3, S, S), with labels and indices (B,)."""
        size = min(size, self.facts.train)
        index = torch.randperm(self.facts.train)[:size].to(self.train_labels.device)
        shape = size, 3, self.facts.size, self.facts.size
        images = torch.randn(shape, device=self.train_labels.device)
        return images.contiguous(memory_format=torch.channels_last), distillers.Batch(
            self.train_labels[index], index
        )

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[torch.Tensor, Batch]]:
        """Yield one batch of training images; the seed, the epoch and `augment` are ignored."""
        yield self.batch(batch_size)

    def evaluation(
        self, split: str, batch_size: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield one batch of images and their labels; `split` is ignored."""
        images, batch = self.batch(batch_size)
        yield images, batch.labels
