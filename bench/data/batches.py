"""Batches on a device: from images in device memory (`Resident`) or from files (`Streamed`)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any, TypeVar

import distillers
from bench.data.base import Augment, Facts, Split
from bench.data.folder import Listing
from bench.data.images import CentreView, ImageFiles, Normalizer, RandomView, View, draw_variation
from bench.data.operations import Erasing, RandomOperations
from bench.errors import BenchError
from bench.lazy import F, torch
from bench.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from distillers import Batch

RESIZE_BATCH = 1000  # images that are resized at once, to limit memory
Loaded = TypeVar("Loaded", "Resident", "Streamed")


class Resident:
    """Data whose images are all on the device, as uint8; `Data` documents the methods.

    Args:
        facts: the facts of the selected part; images are resized to `facts.size`.
        splits: images (N, C, H, W) uint8 and labels (N,) int64, for train, test and, if some images
            are held out, validation.
        device: the device that stores the images.
        counts: numbers for records; see `Data`.

    """

    def __init__(
        self,
        facts: Facts,
        splits: Mapping[Split, tuple[Tensor, Tensor]],
        device: torch.device,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self.facts, self.counts = facts, counts or {}
        self.device = device
        self.splits = {
            split: (channels_last(resize(images, facts.size)).to(device), labels.to(device))
            for split, (images, labels) in splits.items()
        }
        self.train_labels = self.splits["train"][1]
        self.normalize: Callable[[Tensor], Tensor] = Normalizer(facts, device)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """Yield all training images once; see `Data.epoch`."""
        images, labels = self.splits["train"]
        count, flat = len(labels), images.flatten(1)
        order_rng = generator(self.device, seed, "order", epoch)
        order = torch.randperm(count, generator=order_rng, device=self.device)
        names, size = augment.names(epoch), self.facts.size
        vary = draw_variation(augment, size, count, generator(self.device, seed, "augment", *names))
        draws = generator("cpu", seed, "randaugment", *names)
        operate = RandomOperations(augment.randaugment, size, count, draws, self.device)
        erase = Erasing(
            augment.erasing, size, count, generator(self.device, seed, "erasing", *names)
        )
        for start in range(0, count, batch_size):
            index = order[start : start + batch_size]
            selected = flat.index_select(0, index).view(-1, *images.shape[1:])
            batch = distillers.Batch(labels=labels.index_select(0, index), index=index)
            varied = operate(vary(selected, start), start)
            yield erase(self.normalize(varied), start), batch

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images and labels of a split in the data set's order; see `Data.evaluation`."""
        for images, labels in self.pictures(split, batch_size):
            yield self.normalize(images), labels

    def pictures(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the same images before normalisation; see `Data.pictures`."""
        if split not in self.splits:
            raise missing_split(self.facts.name, split)
        images, labels = self.splits[split]
        for start in range(0, len(labels), batch_size):
            batch = slice(start, start + batch_size)
            yield images[batch], labels[batch]

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> Resident:
        """Return the same images with another normalisation; see `Data.normalised`."""
        return with_normalizer(self, mean, std)


class Streamed:
    """Data whose image files are decoded again in each epoch; `Data` documents the methods.

    The number of workers does not change the batches.

    Args:
        facts: the facts of the selected part.
        splits: the files of each split.
        device: the device of the batches.
        workers: number of processes that decode; 0 means that this process decodes.
        counts: numbers for records; see `Data`.
        centre: function of the image size that returns the view for evaluation.

    """

    def __init__(
        self,
        facts: Facts,
        splits: Mapping[Split, Listing],
        device: torch.device,
        workers: int,
        counts: Mapping[str, int] | None = None,
        *,
        centre: Callable[[int], View] = CentreView,
    ) -> None:
        self.facts, self.counts = facts, counts or {}
        self.device = device
        self.splits = splits
        self.centre = centre(facts.size)
        self.workers = min(workers, os.cpu_count() or 1)
        self.labels = {split: listing.labels.to(device) for split, listing in splits.items()}
        self.train_labels = self.labels["train"]
        self.normalize: Callable[[Tensor], Tensor] = Normalizer(facts, device)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """Yield all training images once; see `Data.epoch`."""
        order_rng = generator("cpu", seed, "order", epoch)
        order = torch.randperm(len(self.train_labels), generator=order_rng)
        view = RandomView(self.facts.size, augment, seed, epoch)
        erasing_rng = generator(self.device, seed, "erasing", *augment.names(epoch))
        erase = Erasing(augment.erasing, self.facts.size, len(order), erasing_rng)
        start = 0
        for images, index in self._batches("train", view, order, batch_size):
            batch = distillers.Batch(labels=self.train_labels.index_select(0, index), index=index)
            yield erase(self.normalize(images), start), batch
            start += len(index)

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the centre of each image, sorted by class and path; see `Data.evaluation`."""
        for images, labels in self.pictures(split, batch_size):
            yield self.normalize(images), labels

    def pictures(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the same images before normalisation; see `Data.pictures`."""
        if split not in self.splits:
            raise missing_split(self.facts.name, split)
        labels = self.labels[split]
        order = torch.arange(len(labels))
        for images, index in self._batches(split, self.centre, order, batch_size):
            yield images, labels.index_select(0, index)

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> Streamed:
        """Return the same images with another normalisation; see `Data.normalised`."""
        return with_normalizer(self, mean, std)

    def _batches(
        self, split: Split, view: View, order: Tensor, batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, S, S, 3) uint8 and their indices (B,) in the split."""
        files: Any = ImageFiles(self.splits[split].paths, view)  # any sequence is a data set
        loader = torch.utils.data.DataLoader["Tensor"](
            files,
            batch_sampler=[batch.tolist() for batch in torch.split(order, batch_size)],
            num_workers=self.workers,
            collate_fn=torch.stack,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context=_worker_context() if self.workers else None,
            generator=torch.Generator(),  # else each pass would draw from torch's global generator
        )
        if self.device.type == "cuda":
            order = order.pin_memory()  # else the CPU would wait until the copy to the GPU ends
        batches = torch.split(order.to(self.device, non_blocking=True), batch_size)
        for images, index in zip(loader, batches, strict=True):
            yield images.to(self.device, non_blocking=True), index


def _worker_context() -> BaseContext:
    # `fork` may deadlock, because torch and CUDA have threads. The fork server imports torch only
    # once, so that the workers of each epoch start quickly.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "bench.data"])
    return context


def with_normalizer(data: Loaded, mean: tuple[float, ...], std: tuple[float, ...]) -> Loaded:
    """Return a copy of loaded data that shares the images, with another mean and deviation."""
    copied = copy(data)
    copied.facts = replace(data.facts, mean=mean, std=std)
    copied.normalize = Normalizer(copied.facts, data.device)
    return copied


def missing_split(name: str, split: Split) -> BenchError:
    """Return the error for a split that does not exist."""
    return BenchError(
        f"{name}: no {split} split; hold out training images with `validation: 1000`, for example"
    )


def resize(images: Tensor, size: int) -> Tensor:
    """Return images (N, C, H, W) uint8 resized to (N, C, size, size), bilinear and antialiased."""
    if images.shape[2:] == (size, size):
        return images
    parts = []
    for batch in torch.split(images, RESIZE_BATCH):
        exact = F.interpolate(batch.float(), size=(size, size), mode="bilinear", antialias=True)
        parts.append(exact.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)


def channels_last(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) as contiguous (N, H, W, C); a grey channel is copied 3 times."""
    channels = 3 if images.shape[1] == 1 else images.shape[1]
    return images.expand(-1, channels, -1, -1).permute(0, 2, 3, 1).contiguous()
