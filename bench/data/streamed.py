"""A data set that stays in its files: worker processes decode it, the device gets bytes."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.data.augment import Normalizer
from bench.data.base import Augment, Facts, Split
from bench.data.folder import Listing
from bench.data.images import CentreView, RandomView, View, decode, pixels
from bench.data.resident import missing_split
from bench.seeding import generator
from distillers import Batch


class Streamed:
    """Batches of image files, decoded in each epoch; numbers do not depend on the workers.

    Args:
        facts: the facts of the selected part.
        splits: the files of each split.
        device: where batches go.
        workers: processes that decode; 0 decodes in this process.

    """

    def __init__(
        self, facts: Facts, splits: Mapping[Split, Listing], device: torch.device, workers: int
    ) -> None:
        self.facts = facts
        self.device = device
        self.splits = splits
        self.workers = min(workers, os.cpu_count() or 1)
        self.labels = {split: listing.labels.to(device) for split, listing in splits.items()}
        self.train_labels = self.labels["train"]
        self.normalize = Normalizer(facts, device)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """Yield all training images once; see `Data.epoch`."""
        order_rng = generator("cpu", seed, "order", epoch)
        order = torch.randperm(len(self.train_labels), generator=order_rng)
        view = RandomView(self.facts.size, augment, seed, epoch)
        for images, index in self._batches("train", view, order, batch_size):
            yield images, Batch(labels=self.train_labels.index_select(0, index), index=index)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the centre of each image of a split, by class and path; see `Data.evaluation`."""
        if split not in self.splits:
            raise missing_split(self.facts.name, split)
        labels = self.labels[split]
        order = torch.arange(len(labels))
        for images, index in self._batches(split, CentreView(self.facts.size), order, batch_size):
            yield images, labels.index_select(0, index)

    def _batches(
        self, split: Split, view: View, order: Tensor, batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, S, S) and their places (B,) in the split."""
        loader = DataLoader(
            ImageFiles(self.splits[split].paths, view),
            batch_sampler=[batch.tolist() for batch in torch.split(order, batch_size)],
            num_workers=self.workers,
            collate_fn=torch.stack,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context=_worker_context() if self.workers else None,
            generator=torch.Generator(),  # else each pass would draw from the global one
        )
        if self.device.type == "cuda":
            order = order.pin_memory()  # else the copy would block
        batches = torch.split(order.to(self.device, non_blocking=True), batch_size)
        for images, index in zip(loader, batches, strict=True):
            yield self.normalize(images.to(self.device, non_blocking=True)), index


class ImageFiles(Dataset[Tensor]):
    """Image files as (S, S, 3) uint8."""

    def __init__(self, paths: list[str], view: View) -> None:
        # One array instead of a list: it is sent to the workers in one piece.
        self.paths = np.array([os.fsencode(path) for path in paths])
        self.view = view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        picture = decode(Path(os.fsdecode(bytes(self.paths[index]))), self.view.size)
        return pixels(self.view(picture, index))


def _worker_context() -> BaseContext:
    # A plain fork may hang because torch and the device have threads. The fork server imports
    # everything once, so the workers of each epoch start at once.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "bench.data"])
    return context
