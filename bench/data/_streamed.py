"""A data set that stays in its files: decoded by workers, sent to the device as bytes."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.data._base import Augment, Facts, Split
from bench.data._normal import Normalised
from bench.data._pictures import opened, pixels
from bench.data._resident import absent
from bench.data._share import Share
from bench.data._views import Middle, Varied, View
from bench.data.folder import Listing
from bench.seeding import generator
from distillers import Batch


class Streamed:
    """Batches of decoded files; numbers do not depend on how many workers decode them (0: none)."""

    def __init__(
        self,
        facts: Facts,
        splits: Mapping[Split, Listing],
        device: torch.device,
        workers: int,
        share: Share = Share(),  # noqa: B008 (frozen)
    ) -> None:
        self.facts, self.share = facts, share
        self.device = device
        self.splits = splits
        self.workers = min(workers, os.cpu_count() or 1)
        self.labels = {split: part.labels.to(device) for split, part in splits.items()}
        self.train_labels = self.labels["train"]
        self.normalised = Normalised(facts, device)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """All training images once; each varied by (seed, epoch, its index). Decodes its share."""
        ordering = generator("cpu", seed, "order", epoch)
        order = torch.randperm(len(self.train_labels), generator=ordering)
        view = Varied(self.facts.size, augment, seed, epoch)
        for images, index in self._batches("train", view, order, batch_size):
            yield images, Batch(labels=self.train_labels.index_select(0, index), index=index)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The middle of each image of a split, and its label, by class and path."""
        if split not in self.splits:
            raise absent(self.facts.name, split)
        labels = self.labels[split]
        order = torch.arange(len(labels))
        for images, index in self._batches(split, Middle(self.facts.size), order, batch_size):
            yield images, labels.index_select(0, index)

    def _batches(
        self, split: Split, view: View, order: Tensor, batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images of the share's part of each batch, and the places (B,) of the whole batch."""
        parts = [
            part[self.share.own(len(part))].tolist() for part in torch.split(order, batch_size)
        ]
        loader = DataLoader(
            Files(self.splits[split].paths, view),
            batch_sampler=parts,
            num_workers=self.workers,
            collate_fn=torch.stack,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context=_start() if self.workers else None,
            generator=torch.Generator(),  # else each pass would draw from the global one
        )
        if self.device.type == "cuda":
            order = order.pin_memory()  # else its copy is waited for
        batches = torch.split(order.to(self.device, non_blocking=True), batch_size)
        for images, index in zip(loader, batches, strict=True):
            yield self.normalised(images.to(self.device, non_blocking=True)), index


class Files(Dataset[Tensor]):
    """Image files as (S, S, 3) uint8."""

    def __init__(self, paths: list[str], view: View) -> None:
        # One array and not a list: it travels to the workers in one piece.
        self.paths = np.array([os.fsencode(path) for path in paths])
        self.view = view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        picture = opened(Path(os.fsdecode(bytes(self.paths[place]))), self.view.size)
        return pixels(self.view(picture, place))


def _start() -> BaseContext:
    # A plain fork may hang beside the threads of torch and of the device. The server imports
    # everything once, so that the workers of each epoch are there at once.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "bench.data"])
    return context
