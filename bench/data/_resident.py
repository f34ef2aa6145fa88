"""A data set that lives on the device as bytes and is augmented there, without a loader."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data._augment import variation
from bench.data._base import Augment, Facts, Split
from bench.data._normal import Normalised
from bench.data._share import Share
from bench.errors import BenchError
from bench.seeding import generator
from distillers import Batch

RESIZED_AT_ONCE = 1000  # images: bounds the memory of resizing


class Resident:
    """Batches cut from byte tensors on the device; every image has its own crop and flip.

    `splits` holds (images (N, C, H, W) uint8, labels (N,) int64) for train, test and, where
    one is held out, validation.
    """

    def __init__(
        self,
        facts: Facts,
        splits: Mapping[Split, tuple[Tensor, Tensor]],
        device: torch.device,
        share: Share = Share(),  # noqa: B008 (frozen)
    ) -> None:
        self.facts, self.share = facts, share
        self.device = device
        self.splits = {
            split: (pixels_last(sized(images, facts.size)).to(device), labels.to(device))
            for split, (images, labels) in splits.items()
        }
        self.train_labels = self.splits["train"][1]
        self.normalised = Normalised(facts, device)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """All training images once, in an order and with variations from (seed, epoch)."""
        images, labels = self.splits["train"]
        count, flat = len(labels), images.flatten(1)
        ordering = generator(self.device, seed, "order", epoch)
        order = torch.randperm(count, generator=ordering, device=self.device)
        varied = variation(augment, count, generator(self.device, seed, "augment", epoch))
        for start in range(0, count, batch_size):
            index = order[start : start + batch_size]
            own = self.share.own(len(index))
            chosen = flat.index_select(0, index[own]).view(-1, *images.shape[1:])
            batch = Batch(labels=labels.index_select(0, index), index=index)
            yield self.normalised(varied(chosen, start + own.start)), batch

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of a split as they are, in the data set's order."""
        if split not in self.splits:
            raise absent(self.facts.name, split)
        images, labels = self.splits[split]
        for start in range(0, len(labels), batch_size):
            truth = labels[start : start + batch_size]
            chosen = images[start : start + batch_size][self.share.own(len(truth))]
            yield self.normalised(chosen), truth


def absent(name: str, split: Split) -> BenchError:
    """The error for evaluating on images that were never held out."""
    return BenchError(
        f"{name}: there is no {split} split; ask for one with `validation: 1000`, a number of "
        "training images to hold out"
    )


def sized(images: Tensor, size: int) -> Tensor:
    """(N, C, H, W) uint8 as (N, C, size, size), bilinear with antialiasing; on the CPU."""
    if images.shape[2:] == (size, size):
        return images
    starts = range(0, len(images), RESIZED_AT_ONCE)
    return torch.cat([_resized(images[at : at + RESIZED_AT_ONCE], size) for at in starts])


def _resized(images: Tensor, size: int) -> Tensor:
    exact = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return exact.round().clamp(0, 255).to(torch.uint8)


def pixels_last(images: Tensor) -> Tensor:
    """(N, C, H, W) as contiguous (N, H, W, 3), grey repeated to three channels."""
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()
