"""A data set that stays on the device as bytes and is augmented there, without a loader."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data.augment import Normalizer, draw_variation
from bench.data.base import Augment, Facts, Split
from bench.errors import BenchError
from bench.seeding import generator
from distillers import Batch

RESIZE_BATCH = 1000  # images that are resized at once; limits memory


class Resident:
    """Batches cut from byte tensors on the device; every image has its own crop and flip.

    Args:
        facts: the facts of the selected part; images are resized to its size.
        splits: images (N, C, H, W) uint8 and labels (N,) int64, for train, test and, if some images
            are held out, validation.
        device: where the data stay.

    """

    def __init__(
        self,
        facts: Facts,
        splits: Mapping[Split, tuple[Tensor, Tensor]],
        device: torch.device,
    ) -> None:
        self.facts = facts
        self.device = device
        self.splits = {
            split: (channels_last(resize(images, facts.size)).to(device), labels.to(device))
            for split, (images, labels) in splits.items()
        }
        self.train_labels = self.splits["train"][1]
        self.normalize = Normalizer(facts, device)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """Yield all training images once; see `Data.epoch`."""
        images, labels = self.splits["train"]
        count, flat = len(labels), images.flatten(1)
        order_rng = generator(self.device, seed, "order", epoch)
        order = torch.randperm(count, generator=order_rng, device=self.device)
        vary = draw_variation(augment, count, generator(self.device, seed, "augment", epoch))
        for start in range(0, count, batch_size):
            index = order[start : start + batch_size]
            selected = flat.index_select(0, index).view(-1, *images.shape[1:])
            batch = Batch(labels=labels.index_select(0, index), index=index)
            yield self.normalize(vary(selected, start)), batch

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images and labels of a split in the data set's order; see `Data.evaluation`."""
        if split not in self.splits:
            raise missing_split(self.facts.name, split)
        images, labels = self.splits[split]
        for start in range(0, len(labels), batch_size):
            batch = slice(start, start + batch_size)
            yield self.normalize(images[batch]), labels[batch]


def missing_split(name: str, split: Split) -> BenchError:
    """Return the error for a split without images."""
    return BenchError(
        f"{name}: no {split} split; hold out training images with `validation: 1000`, for example"
    )


def resize(images: Tensor, size: int) -> Tensor:
    """Resize (N, C, H, W) uint8 on the CPU to (N, C, size, size), bilinear and antialiased."""
    if images.shape[2:] == (size, size):
        return images
    return torch.cat([_resize_batch(batch, size) for batch in torch.split(images, RESIZE_BATCH)])


def _resize_batch(images: Tensor, size: int) -> Tensor:
    exact = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return exact.round().clamp(0, 255).to(torch.uint8)


def channels_last(images: Tensor) -> Tensor:
    """Return (N, C, H, W) as contiguous (N, H, W, 3), grey repeated to three channels."""
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()
