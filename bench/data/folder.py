"""Any folder of images: train/ and test/ (or val/), each with one folder of images per class."""

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

from bench.data.base import Arrays, Facts, Selection
from bench.data.images import decode_all
from bench.errors import BenchError, MissingData

PREFIX = "folder:"
MAX_DEPTH = 64  # levels of folders below a class folder
EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Listing:
    """Image files of one split, sorted by class and then by path."""

    paths: list[str]
    labels: Tensor  # (N,) int64

    def take(self, indices: Tensor) -> "Listing":
        """Return the listing of the files at these indices (M,) int64."""
        return Listing([self.paths[index] for index in indices.tolist()], self.labels[indices])

    def decode(self, size: int) -> tuple[Tensor, Tensor]:
        """Return all images (N, 3, size, size) uint8 and their labels."""
        return decode_all(self.paths, size), self.labels


@dataclass(frozen=True)
class Folder:
    """A folder of images of any shape: `read` resizes the shorter side, then crops the centre.

    Classes are numbered in the alphabetical order of the folders under train/. Test images are in
    test/ if it contains folders, otherwise in val/. Normalisation uses ImageNet's mean and
    standard deviation.

    Attributes:
        path: the folder.
        size: side of the cropped images in pixels.
        allowed: a folder; symbolic links must point into it. It is the data root if the root
            contains `path`, otherwise `path`.

    """

    path: Path
    size: int
    allowed: Path

    @classmethod
    def from_selection(cls, selection: Selection, root: Path) -> Self:
        """Return the source for `folder:PATH`; a relative path starts at the data root.

        Raises:
            BenchError: the selection has no path or no size, or the path cannot be resolved.

        """
        path = selection.name.removeprefix(PREFIX)
        if not path:
            raise BenchError(f"{selection.name}: no path; allowed: {PREFIX}/path/to/images")
        if selection.size is None or selection.size < 1:
            raise BenchError(
                f"{selection.name}: size {selection.size} is not possible; a folder of images "
                "needs the number of pixels to resize to, 1 or more, e.g. `size: 224`"
            )
        with _listing_errors(path):
            top, root = (root / Path(path).expanduser()).resolve(), root.resolve()
        return cls(top, selection.size, root if top.is_relative_to(root) else top)

    @cached_property
    def facts(self) -> Facts:
        """Counts, constants, and a hash of relative paths and file sizes; no image is read."""
        digest = hashlib.sha256()
        with _listing_errors(str(self.path)):
            train, test = self.train, self.test
            for path in sorted(train.paths + test.paths):
                relative = Path(path).relative_to(self.path).as_posix()
                digest.update(f"{relative}\t{os.path.getsize(path)}\n".encode())
        counts = [torch.bincount(s.labels) for s in (train, test)]
        return Facts(
            name=f"{PREFIX}{self.path}",
            classes=len(counts[0]),
            size=self.size,
            train=len(train.paths),
            test=len(test.paths),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            fingerprint=f"sha256:{digest.hexdigest()}",
            fewest=(int(counts[0].min()), int(counts[1].min())),
        )

    def read(self, root: Path) -> Arrays:
        """Decode all images to size x size; `root` is ignored."""
        return Arrays(*self.train.decode(self.size), *self.test.decode(self.size))

    @cached_property
    def train(self) -> Listing:
        """The files under train/."""
        return list_images(self.path / "train", self._classes, self.allowed)

    @cached_property
    def test(self) -> Listing:
        """The files under test/ or val/; BenchError if train/ has other classes."""
        top = next(
            (self.path / name for name in ("test", "val") if _folders(self.path / name)), None
        )
        if top is None:
            raise MissingData(f"{self.path}: neither test/ nor val/ has class folders")
        classes = self._classes
        if _folders(top) != classes:
            different = ", ".join(sorted(set(classes) ^ set(_folders(top))))
            raise BenchError(
                f"{top}: its class folders differ from those of train/ in: {different}. Both need "
                "the same class folders"
            )
        return list_images(top, classes, self.allowed)

    @cached_property
    def _classes(self) -> list[str]:
        classes = _folders(self.path / "train")
        if len(classes) < 2:
            raise MissingData(
                f"{self.path / 'train'}: {len(classes)} class folders were found. At least 2 are "
                "needed, each with images"
            )
        return classes


@contextmanager
def _listing_errors(path: str) -> Iterator[None]:
    """Raise a BenchError if the block raises an error of the file system."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: unknown user after ~, cyclic links
        reason = error.strerror if isinstance(error, OSError) else error
        raise BenchError(f"{PREFIX}{path} cannot be listed: {reason}") from error


def list_images(top: Path, classes: list[str], allowed: Path) -> Listing:
    """List all image files below each class's folder, at most `MAX_DEPTH` folders deep.

    Args:
        top: the folder of one split.
        classes: the names of the class folders in `top`.
        allowed: the folder that symbolic links must point into.

    Raises:
        BenchError: a class has no images, or a link points to a path outside `allowed`.

    """
    paths_by_class = [sorted(_images(top / name, allowed)) for name in classes]
    empty = [name for name, paths in zip(classes, paths_by_class, strict=True) if not paths]
    if empty:
        raise BenchError(
            f"{top}: no images for {', '.join(empty)}. Allowed endings: {', '.join(EXTENSIONS)}"
        )
    labels = torch.repeat_interleave(torch.tensor([len(paths) for paths in paths_by_class]))
    return Listing([path for paths in paths_by_class for path in paths], labels)


def _images(top: Path, allowed: Path) -> Iterator[str]:
    """Yield the paths of image files, recognised by their extensions, below a folder.

    Symbolic links are followed, but each folder is read only once. Devices and pipes are skipped.
    """
    visited: set[Path] = set()
    for folder, subfolders, files in os.walk(top, followlinks=True):
        real = _resolve(folder, allowed)
        if real in visited:
            subfolders.clear()
            continue
        if len(Path(folder).parts) > len(top.parts) + MAX_DEPTH:
            raise BenchError(f"{top}: more than {MAX_DEPTH} nested folders")
        visited.add(real)
        for name in files:
            path = os.path.join(folder, name)
            if name.lower().endswith(EXTENSIONS) and _is_regular(path, allowed):
                yield path


def _is_regular(path: str, allowed: Path) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and _resolve(path, allowed).is_file())


def _resolve(path: str, allowed: Path) -> Path:
    """Return a path with its symbolic links resolved; BenchError if it is outside `allowed`."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(allowed):
        raise BenchError(f"{path} is a link to {real}. Allowed: links to paths below {allowed}")
    return real


def _folders(top: Path) -> list[str]:
    if not top.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(top) if entry.is_dir())
