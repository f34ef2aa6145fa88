"""The interface of a data set, for authors of plugins.

A data set is a `Source`: an object with an attribute `facts`, available before images are read, and
a method `read`, which returns all images. A plugin is a Python module that lists its sources by
name in a dictionary `DATASETS`:

    import torch
    from bench.data.base import Arrays, Facts

    class Squares:
        facts = Facts(
            name="squares",
            classes=2,
            size=8,
            train=20,
            test=10,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            fingerprint="sha256:squares-1",
        )

        def read(self, root):
            def images(count):
                labels = torch.arange(count) % 2
                pixels = (labels * 255).to(torch.uint8)
                return pixels.view(-1, 1, 1, 1).expand(-1, 3, 8, 8), labels

            return Arrays(*images(20), *images(10))

    DATASETS = {"squares": Squares()}

A suite that lists the plugin's file under `plugins:` can then set `dataset: squares`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.errors import BenchError
from bench.lazy import torch
from bench.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor

    from distillers import Batch

IMAGENET_CHANNELS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean, standard deviation
PREFIX = "folder:"  # begins the name of a folder of images, as a data set
Split = Literal["train", "validation", "test"]
UNLABELLED = "+unlabelled:"  # in the fingerprint of images without labels


@dataclass(frozen=True)
class Facts:
    """Properties of a data set that are known before its images are loaded.

    Attributes:
        name: the data set's name in suites.
        classes: number of classes K.
        size: side S of an image in pixels; images are (3, S, S), or (C, S, S) with `modalities`.
        train: number of training images N.
        test: number of test images.
        mean: mean of each channel of the training images, scaled to 0..1, for normalisation.
        std: standard deviation of each channel of the training images, scaled to 0..1.
        fingerprint: "md5:..." of the official archive, or a hash of the content. Records identify
            data by the fingerprint: two data sets with the same fingerprint are treated as equal.
        fewest: the smallest number of training images in any class, and the smallest number of
            test images in any class; None if all classes have the same number of images.
        class_counts: number of training images of each class; None if unknown, or if all classes
            have the same number.
        unlabelled: number of training images without labels, which `split: unlabelled` selects.
        unlabelled_fingerprint: hash of these images; empty if `fingerprint` identifies them.
        labels: which images of a student have labels of the classes that the student predicts:
            `all`, `test` (the test images only) or `none`. Authors of data sets keep `all`.
        ignored: number of unused files in a folder of images: hidden files, and files that
            are not images.
        modalities: for images with more than three channels, such as the bands of several sensors:
            pairs of a view's name and the numbers of up to three channels, for example
            `(("visible", (0, 1, 2)), ("thermal", (3,)))`. A suite's `views` choose among them.
        incomplete: if images of the official data set are missing, a phrase for captions that
            says how many are present; otherwise empty.

    """

    name: str
    classes: int
    size: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    fewest: tuple[int, int] | None = None
    class_counts: tuple[int, ...] | None = None
    unlabelled: int = 0
    unlabelled_fingerprint: str = ""
    labels: Literal["all", "test", "none"] = "all"
    ignored: int = 0
    modalities: tuple[tuple[str, tuple[int, ...]], ...] = ()
    incomplete: str = ""

    def train_labels(self) -> Tensor:
        """Return labels (N,) int64 in which each class occurs as often as in the training set.

        The order differs from the order in the data set. Images without labels have the label 0.
        """
        if self.labels != "all":
            return torch.zeros(self.train, dtype=torch.int64)
        if self.class_counts is None:
            return torch.arange(self.train) % self.classes
        counts = torch.tensor(self.class_counts)
        return torch.repeat_interleave(torch.arange(self.classes), counts)

    @property
    def not_rgb(self) -> str:
        """`images of 3 channels, and these have 5`; empty if the images have three channels."""
        channels = len(self.mean)
        return "" if channels == 3 else f"images of 3 channels, and these have {channels}"

    def taught_by(self, teacher: Facts) -> Facts:
        """Return these facts for a student whose teacher was trained on the images of `teacher`.

        The student has the teacher's classes. Images of another data set have no labels in these
        classes, even if both data sets have equally many.

        Args:
            teacher: facts of the images on which the teacher was trained.

        """
        if self.fingerprint.partition(UNLABELLED)[0] == teacher.fingerprint:
            return self
        return replace(self, classes=teacher.classes, labels="none", class_counts=None)

    @property
    def rarest(self) -> tuple[int, int]:
        """The smallest numbers of training images and of test images in any class."""
        return self.fewest or (self.train // self.classes, self.test // self.classes)


@dataclass(frozen=True)
class Selection:
    """The part of a data set that a suite uses; run ids depend on this selection.

    Attributes:
        name: "cifar100", "folder:/path/to/images", or the name of a plugin's data set.
        per_class: training images per class; None: all images.
        test_per_class: test images per class; None: all images.
        validation: total number of training images to hold out, equally many from each class.
        size: side of the resized images in pixels; None: the original size. For a folder of
            images, a size must be given.
        split: `unlabelled` for the training images without labels; `train` for the others.
        held_out: total number of training images that replace the test images, equally many from
            each class; 0: the test images are used. No test image is used if it is above 0.

    """

    name: str
    per_class: int | None = None
    test_per_class: int | None = None
    validation: int = 0
    size: int | None = None
    split: Literal["train", "unlabelled"] = "train"
    held_out: int = 0

    @classmethod
    def of(cls, spec: DataSpec, name: str = "") -> Selection:
        """Return the selection of a run's images.

        Args:
            spec: The images, as in the specification of the run.
            name: Name of the data set, needed for a folder of images, whose path is not in `spec`;
                empty: the name in `spec`.
        """
        values = {field.name: getattr(spec, field.name) for field in fields(cls)}
        return cls(**values | ({"name": name} if name else {}))

    @property
    def spec(self) -> DataSpec:
        """The selected images for captions: without fingerprint, and with a folder's path."""
        return DataSpec(**vars(self))

    @property
    def content(self) -> dict[str, Any]:
        """The fields by name, without fields of later versions that have their defaults.

        Run ids contain these fields. Old ids therefore stay valid.
        """
        later = {"split": "train", "held_out": 0}
        return {key: value for key, value in vars(self).items() if value != later.get(key, ...)}


@dataclass(frozen=True)
class Augment:
    """The random augmentation of training images, independent for each image.

    Attributes:
        crop: number of black pixels added to each side of an image before a random crop to the
            original size; 0: no crop.
        flip: whether to mirror left and right with probability 1/2.
        resized: whether to resize a random part of the image to the full size. The part has 0.08
            to 1 of the image's area and an aspect ratio of 3/4 to 4/3. `crop` is then ignored.
        randaugment: magnitude of RandAugment's two random operations, 0 to 30; 0 for none.
        erasing: probability that a random rectangle is erased.
        view: name of a second random view of the same images; empty for the first view.

    """

    crop: int = 4
    flip: bool = True
    resized: bool = False
    randaugment: int = 0
    erasing: float = 0.0
    view: str = ""

    def names(self, *names: object) -> tuple[object, ...]:
        """Return the names, and the view's name if not empty; they seed a random generator."""
        return (*names, self.view) if self.view else names


@dataclass(frozen=True)
class Arrays:
    """All images and labels of a data set, in memory.

    Attributes:
        train: training images (N, C, S, S) uint8, with C = 1 (grey) or the length of `Facts.mean`.
        train_labels: classes of the training images (N,) int64, from 0 to K - 1.
        test: test images, with the shape and type of `train` except for their number.
        test_labels: classes of the test images (int64), from 0 to K - 1.
        unlabelled: function that reads the training images without labels, like `train`; it is
            called only if a suite selects them. None: there are no such images.

    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    unlabelled: Callable[[], Tensor] | None = None


class Source(Protocol):
    """A data set; to add your own, write a class with these members in a plugin."""

    @property
    def facts(self) -> Facts:
        """Properties at the original image size; a plain attribute is allowed."""

    def read(self, root: Path) -> Arrays:
        """Read all images of the data set.

        Args:
            root: the data root, a folder for archives and downloads; a source may ignore this
                folder.

        Returns:
            All images at their original size.

        Raises:
            MissingData: a file is missing and cannot be downloaded.

        """


class Data(Protocol):
    """A selected part of a data set, ready for training on one device.

    Attributes:
        facts: the facts of the selected part.
        train_labels: classes of the training images (N,) int64, on the device.
        counts: numbers for a run's record: `classes` and `test_images`. Two more numbers are
            present only if above 0: `ignored_files` (unused files of a folder) and
            `test_images_in_train` (test images that are also training images).

    """

    facts: Facts
    train_labels: Tensor
    counts: Mapping[str, int]

    def epoch(
        self, seed: int, epoch: int, batch_size: int, augment: Augment
    ) -> Iterator[tuple[Tensor, Batch]]:
        """Yield all training images once, in batches of B; the last batch may be smaller.

        The order depends only on `seed` and `epoch`, the augmentation also on `augment`.

        Args:
            seed: the seed of the run.
            epoch: the number of the epoch, from 1.
            batch_size: B.
            augment: the augmentation of the images.

        Yields:
            Images (B, 3, S, S), normalised float32, in torch's channels-last memory format; and
            their `Batch`: labels (B,), and indices (B,) into the selected training images.

        """

    def evaluation(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images of a split once, in a fixed order and without augmentation.

        Args:
            split: the part to evaluate on.
            batch_size: B.

        Yields:
            Images (B, 3, S, S), normalised float32, and labels (B,) int64.

        Raises:
            BenchError: no validation images were held out.

        """


class LoadedData(Data, Protocol):
    """Data whose images can be changed before normalisation, or normalised with other numbers.

    Attributes:
        normalize: function that maps images (B, S, S, 3) uint8 to normalised images (B, 3, S, S).

    """

    normalize: Callable[[Tensor], Tensor]

    def pictures(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images of `evaluation` before normalisation, (B, S, S, 3) uint8, and labels."""

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> LoadedData:
        """Return the same images, normalised with another mean and standard deviation.

        Args:
            mean: mean of each channel, scaled to 0..1.
            std: standard deviation of each channel, scaled to 0..1.

        """


def check_arrays(arrays: Arrays, facts: Facts) -> Arrays:
    """Return the arrays that a source read; raise if the arrays do not match the facts.

    Args:
        arrays: the arrays that the source read.
        facts: the source's facts.

    Raises:
        BenchError: arrays and facts differ; the message lists all differences.

    """
    problems = [
        *_problems("train", arrays.train, arrays.train_labels, facts),
        *_problems("test", arrays.test, arrays.test_labels, facts),
    ]
    if problems:
        raise BenchError(f"{facts.name}: the data differ from `facts`: " + "; ".join(problems))
    return arrays


def read_unlabelled(arrays: Arrays, facts: Facts) -> Tensor:
    """Return the training images without labels; raise BenchError if they differ from the facts."""
    images = arrays.unlabelled() if arrays.unlabelled else torch.empty(0)
    if problems := list(_image_problems("unlabelled", images, facts.unlabelled, facts)):
        raise BenchError(f"{facts.name}: the data differ from their facts: {problems[0]}")
    return images


def _problems(
    split: Literal["train", "test"], images: Tensor, labels: Tensor, facts: Facts
) -> Iterator[str]:
    classes, is_test = facts.classes, split == "test"
    count = facts.test if is_test else facts.train
    yield from _image_problems(split, images, count, facts)
    if labels.dtype != torch.int64 or tuple(labels.shape) != (count,):
        yield f"{split} labels are {labels.dtype} {tuple(labels.shape)}, not torch.int64 ({count},)"
    elif int(labels.min()) < 0 or int(labels.max()) >= classes:
        yield f"{split} labels are {labels.min()} to {labels.max()}, not 0 to {classes - 1}"
    elif (fewest := int(labels.bincount(minlength=classes).min())) != facts.rarest[is_test]:
        yield f"the rarest class has {fewest} {split} images, not {facts.rarest[is_test]}"


def _image_problems(split: str, images: Tensor, count: int, facts: Facts) -> Iterator[str]:
    size = facts.size
    grey, coloured = (count, 1, size, size), (count, len(facts.mean), size, size)
    if images.dtype != torch.uint8 or tuple(images.shape) not in (grey, coloured):
        actual = f"{images.dtype} {tuple(images.shape)}"
        yield f"{split} images are {actual}, not torch.uint8 {coloured} or {grey}"
