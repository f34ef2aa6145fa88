"""What a data set is: the facts known before reading it, its arrays, and its batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from bench.data._share import Share
from distillers import Batch

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Facts:
    """What is known of a data set without reading it; images are (3, size, size)."""

    name: str
    classes: int
    size: int  # pixels; grey images are repeated to three channels
    train: int  # how many images
    test: int
    mean: tuple[float, float, float]  # of the training images, in 0..1, for normalisation
    std: tuple[float, float, float]
    fingerprint: str  # "md5:…" of the official archive, or a content hash
    fewest: tuple[int, int] | None = (
        None  # images of the rarest class, (train, test); None: all equal
    )

    @property
    def rarest(self) -> tuple[int, int]:
        """How many (training, test) images the rarest class has."""
        return self.fewest or (self.train // self.classes, self.test // self.classes)


@dataclass(frozen=True)
class Selection:
    """The data set that a suite asks for, and the part of it; all of it identifies a run."""

    name: str  # "cifar100", "folder:/path/to/images", or a plugin's name
    per_class: int | None = None  # training images of each class; None: all
    test_per_class: int | None = None
    validation: int = 0  # training images held out, as many of each class
    size: int | None = None  # pixels to resize to; None: as they are (folders must say)


@dataclass(frozen=True)
class Augment:
    """How training images are varied, each by itself."""

    crop: int = 4  # black pixels around the raw image before a random crop to size; 0: no crop
    flip: bool = True  # left and right exchanged with probability 1/2
    resized: bool = False  # a random part (area 0.08-1, aspect 3/4-4/3) resized, instead of `crop`


@dataclass(frozen=True)
class Arrays:
    """A whole data set in memory: images (N, C, S, S) uint8 with C 1 or 3, labels (N,) int64."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


class Source(Protocol):
    """One data set: what is known of it, and how to read it; implement it to add your own."""

    @property
    def facts(self) -> Facts:
        """Of the whole data set at its own size; an attribute will do."""

    def read(self, root: Path) -> Arrays:
        """The whole data set from under the data root; raises MissingData."""


class Data(Protocol):
    """A data set ready for training on one device: images are those of its share of a batch."""

    facts: Facts
    share: Share
    train_labels: Tensor  # (N,) int64, on the device

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """All training images once: (b, 3, S, S) normalised float32, and the whole `Batch` of B.

        b is the share's part of B: all of it, unless several devices train one run.
        Order and augmentation are functions of (seed, epoch) alone. The last batch may be smaller.
        Images are channels-last in memory. `Batch.index` counts the selected training images.
        """

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (b, 3, S, S) and labels (B,) of a split, in fixed order, never augmented."""
