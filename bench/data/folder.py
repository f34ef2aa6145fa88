"""Any folder of images: train/ and test/ (or val/), each with one folder of images for a class."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from bench.data._base import Arrays, Facts, Selection
from bench.data._pictures import stack
from bench.errors import BenchError, MissingData

PREFIX = "folder:"
DEEPEST = 64  # folders within each other, below a class's
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Listing:
    """Image files of one split, by class and then by path."""

    paths: list[str]
    labels: Tensor  # (N,) int64

    def only(self, places: Tensor) -> "Listing":
        """The files at these places."""
        return Listing([self.paths[place] for place in places.tolist()], self.labels[places])


@dataclass(frozen=True)
class Folder:
    """Images of any shape; each is resized by its shorter side and its middle square taken.

    Classes are numbered in the alphabetical order of the folders under train/. The test images
    are those of test/ if that holds folders, else of val/. Normalised with ImageNet's constants.
    Links are followed while they stay `within` the data root; for a folder that is not below that,
    within the folder itself.
    """

    path: Path
    size: int
    within: Path

    @classmethod
    def of(cls, selection: Selection, root: Path) -> Self:
        """The source for `folder:PATH`, a relative path below the data root; size is required."""
        path = selection.name.removeprefix(PREFIX)
        if not path:
            raise BenchError(f"{selection.name}: no path; allowed: {PREFIX}/path/to/images")
        if selection.size is None or selection.size < 1:
            raise BenchError(
                f"{selection.name}: size {selection.size} is not possible; a folder of images "
                "needs the number of pixels to resize to, 1 or more, e.g. `size: 224`"
            )
        with _told(path):
            top, root = (root / Path(path).expanduser()).resolve(), root.resolve()
        return cls(top, selection.size, root if top.is_relative_to(root) else top)

    @cached_property
    def facts(self) -> Facts:
        """Counts and a hash of all relative paths and file sizes; reads no image."""
        with _told(str(self.path)):
            train, test = self.train, self.test
            fingerprint = self._fingerprint(train.paths + test.paths)
        counts = [torch.bincount(s.labels) for s in (train, test)]
        return Facts(
            name=f"{PREFIX}{self.path}",
            classes=len(counts[0]),
            size=self.size,
            train=len(train.paths),
            test=len(test.paths),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            fingerprint=fingerprint,
            fewest=(int(counts[0].min()), int(counts[1].min())),
        )

    def read(self, root: Path) -> Arrays:
        """All images in memory, size x size."""
        train, test = self.train, self.test
        return Arrays(
            stack(map(Path, train.paths), self.size),
            train.labels,
            stack(map(Path, test.paths), self.size),
            test.labels,
        )

    @cached_property
    def train(self) -> Listing:
        """The files under train/."""
        return listing(self.path / "train", self._classes, self.within)

    @cached_property
    def test(self) -> Listing:
        """The files under test/ or val/; BenchError if its classes are not those of train/."""
        top = next(
            (self.path / name for name in ("test", "val") if _folders(self.path / name)), None
        )
        if top is None:
            raise MissingData(f"{self.path}: neither test/ nor val/ holds a folder for each class")
        classes = self._classes
        if _folders(top) != classes:
            odd = ", ".join(sorted(set(classes) ^ set(_folders(top))))
            raise BenchError(
                f"{top}: the class folders must be those of train/; they differ in {odd}"
            )
        return listing(top, classes, self.within)

    @cached_property
    def _classes(self) -> list[str]:
        classes = _folders(self.path / "train")
        if len(classes) < 2:
            raise MissingData(
                f"{self.path / 'train'}: {len(classes)} class folders were found; at least 2 are "
                "needed, each with images"
            )
        return classes

    def _fingerprint(self, paths: list[str]) -> str:
        digest = hashlib.sha256()
        for path in sorted(paths):
            below = Path(path).relative_to(self.path).as_posix()
            digest.update(f"{below}\t{os.path.getsize(path)}\n".encode())
        return f"sha256:{digest.hexdigest()}"


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Inside, what the system says of a folder becomes a sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: no user behind a ~, a circle of links
        reason = error.strerror if isinstance(error, OSError) else error
        raise BenchError(f"{PREFIX}{path} cannot be listed: {reason}") from error


def listing(top: Path, classes: list[str], within: Path) -> Listing:
    """All image files below each class's folder, at most `DEEPEST` folders down.

    BenchError if a class has none, and for a link that leads out of `within`.
    """
    found = [sorted(_images(top / name, within)) for name in classes]
    empty = [name for name, paths in zip(classes, found, strict=True) if not paths]
    if empty:
        raise BenchError(
            f"{top}: no images for {', '.join(empty)}; files that count end in {', '.join(ENDINGS)}"
        )
    labels = torch.repeat_interleave(torch.tensor([len(paths) for paths in found]))
    return Listing([path for paths in found for path in paths], labels)


def _images(top: Path, within: Path) -> Iterator[str]:
    """Regular files with the ending of an image; every folder once, however many links lead to it.

    What is neither a file nor a folder, such as a device or a pipe, is passed over.
    """
    seen: set[Path] = set()
    for where, folders, files in os.walk(top, followlinks=True):
        real = _inside(where, within)
        if real in seen:
            folders.clear()
            continue
        if len(Path(where).parts) > len(top.parts) + DEEPEST:
            raise BenchError(f"{top}: more than {DEEPEST} folders within each other")
        seen.add(real)
        for name in files:
            path = os.path.join(where, name)
            if name.lower().endswith(ENDINGS) and _regular(path, within):
                yield path


def _regular(path: str, within: Path) -> bool:
    kind = os.lstat(path).st_mode
    return stat.S_ISREG(kind) or (stat.S_ISLNK(kind) and _inside(path, within).is_file())


def _inside(path: str, within: Path) -> Path:
    """Where a path really leads; BenchError if that is out of bounds."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(within):
        raise BenchError(f"{path} leads to {real}. Allowed: what lies below {within}")
    return real


def _folders(top: Path) -> list[str]:
    if not top.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(top) if entry.is_dir())
