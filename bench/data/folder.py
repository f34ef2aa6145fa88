"""A user's folder of images: a training and a test split, each with one folder per class."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.data.base import IMAGENET_CHANNELS, PREFIX, Arrays, Facts, Selection
from bench.data.fingerprint import hash_files
from bench.data.images import broken_images, check_complete, decode_all, printable
from bench.errors import BenchError, MissingData
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

MAX_DEPTH = 64  # nested folders below a class
EXTENSIONS = (
    ".apng", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
TRAIN = ("train", "training")  # names of a split's folder; the first that has subfolders is used
TEST = ("test", "val", "validation", "valid")
# Folders without a leading dot that archives and operating systems add.
NOT_CLASSES = ("$RECYCLE.BIN", "@eaDir", "System Volume Information", "__MACOSX", "lost+found")
MAX_LISTED = 20  # classes that an error message names


@dataclass(frozen=True)
class Listing:
    """Image files of one split, sorted by class and then by path."""

    paths: list[str]
    labels: Tensor  # (N,) int64
    ignored: int = 0  # number of unused files in the split's folder

    def take(self, indices: Tensor) -> Listing:
        """Return the files at these indices (M,) int64."""
        paths = [self.paths[index] for index in indices.tolist()]
        return Listing(paths, self.labels[indices], self.ignored)

    def decode(self, size: int) -> tuple[Tensor, Tensor]:
        """Return all images (N, 3, size, size) uint8 and their labels."""
        return decode_all(self.paths, size), self.labels


@dataclass(frozen=True)
class Folder:
    """A folder of images of any shape: `read` resizes the shorter side, then crops the centre.

    Classes are numbered in the alphabetical order of the training folders. The training images are
    in train/ or training/, the test images in the first of test/, val/, validation/ and valid/ that
    contains folders. Images without labels are in unlabelled/ and its folders. Hidden files and
    folders are ignored. Images are normalised with ImageNet's constants.

    Attributes:
        path: the folder.
        size: side of the cropped images in pixels.
        allowed: the folder into which symbolic links may point: the data root if the root contains
            `path`, otherwise `path`.

    """

    path: Path
    size: int
    allowed: Path

    @classmethod
    def from_selection(cls, selection: Selection, root: Path) -> Self:
        """Return the data set `folder:PATH`; a relative path starts at the data root.

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
        """The properties of the data set; the fingerprint is a hash of all images and labels.

        Raises:
            BenchError: the folder cannot be read, or images are broken; the message lists all
                broken images.

        """
        digest = hashlib.sha256()
        with _listing_errors(str(self.path)):
            train, test = self.train, self.test
            for split in (train, test):
                lines = zip(split.labels.tolist(), self.digests(split), strict=True)
                digest.update(
                    "".join(f"{label}\t{content.hex()}\n" for label, content in lines).encode()
                )
                digest.update(b"\n")
            unlabelled = self.unlabelled
            others = hashlib.sha256(b"".join(sorted(self.digests(unlabelled))))
        counts = [torch.bincount(s.labels) for s in (train, test)]
        return Facts(
            name=f"{PREFIX}{self.path}",
            classes=len(counts[0]),
            size=self.size,
            train=len(train.paths),
            test=len(test.paths),
            mean=IMAGENET_CHANNELS[0],
            std=IMAGENET_CHANNELS[1],
            fingerprint=f"sha256:{digest.hexdigest()}",
            fewest=(int(counts[0].min()), int(counts[1].min())),
            class_counts=tuple(counts[0].tolist()),
            ignored=train.ignored + test.ignored + unlabelled.ignored,
            unlabelled=len(unlabelled.paths),
            unlabelled_fingerprint=others.hexdigest() if unlabelled.paths else "",
        )

    def digests(self, listing: Listing) -> list[bytes]:
        """Return the hash of each file's content; raise BenchError if images are broken."""
        return [self._digests[path] for path in listing.paths]

    @cached_property
    def _digests(self) -> dict[str, bytes]:
        """The hash of each file of all splits, by its path."""
        paths = [*self.train.paths, *self.test.paths, *self.unlabelled.paths]
        digests, problems = hash_files(paths, check_complete)
        if problems:
            raise broken_images(problems)
        return dict(zip(paths, digests, strict=True))

    def read(self, root: Path) -> Arrays:
        """Decode all images to size x size; `root` is ignored."""
        unlabelled = partial(decode_all, self.unlabelled.paths, self.size)
        return Arrays(*self.train.decode(self.size), *self.test.decode(self.size), unlabelled)

    @cached_property
    def train(self) -> Listing:
        """The files of the training split."""
        return list_images(self._train_folder, self._classes, self.allowed)

    @cached_property
    def test(self) -> Listing:
        """The files of the test split; BenchError if the training split has different classes."""
        top = next((self.path / name for name in TEST if class_folders(self.path / name)), None)
        if top is None:
            names = "/, ".join(TEST)
            raise MissingData(f"{self.path}: none of {names}/ has class folders")
        classes = self._classes
        if class_folders(top) != classes:
            different = _listed(sorted(set(classes) ^ set(class_folders(top))))
            raise BenchError(
                f"{top}: its class folders differ from those of {self._train_folder.name}/ in: "
                f"{different}. Both need the same class folders"
            )
        return list_images(top, classes, self.allowed)

    @cached_property
    def unlabelled(self) -> Listing:
        """The files of the training images without labels; all have the placeholder label 0."""
        ignored: Counter[str] = Counter()
        top = self.path / "unlabelled"
        paths = sorted(_images(top, self.allowed, ignored)) if top.is_dir() else []
        return Listing(paths, torch.zeros(len(paths), dtype=torch.int64), ignored.total())

    @cached_property
    def _train_folder(self) -> Path:
        folders = (self.path / name for name in TRAIN)
        return next((folder for folder in folders if class_folders(folder)), self.path / TRAIN[0])

    @cached_property
    def _classes(self) -> list[str]:
        classes = class_folders(self._train_folder)
        if len(classes) < 2:
            raise MissingData(
                f"{self._train_folder}: {len(classes)} class folders were found. At least 2 are "
                "needed, each with images"
            )
        return classes


@contextmanager
def _listing_errors(path: str) -> Iterator[None]:
    """Turn an error of the file system in a `with` block into a BenchError."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: unknown user after ~, cyclic links
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, OSError) and isinstance(error.filename, str):
            reason = f"{printable(error.filename)}: {reason}"
        raise BenchError(f"{PREFIX}{printable(path)} cannot be listed: {reason}") from error


def list_images(top: Path, classes: list[str], allowed: Path) -> Listing:
    """List all image files below each class's folder.

    Args:
        top: the folder of one split.
        classes: the names of the class folders in `top`.
        allowed: the folder that symbolic links must point into.

    Raises:
        BenchError: a class has no images, a link points to a path outside `allowed`, or folders
            are nested more than `MAX_DEPTH` deep.

    """
    ignored: Counter[str] = Counter()
    _count_files(top, set(os.listdir(top)) - set(classes), ignored)
    paths_by_class = [sorted(_images(top / name, allowed, ignored)) for name in classes]
    empty = [name for name, paths in zip(classes, paths_by_class, strict=True) if not paths]
    if empty:
        raise BenchError(
            f"{printable(top)}: no images for {_listed(empty)}. "
            f"Allowed endings: {', '.join(EXTENSIONS)}"
        )
    labels = torch.repeat_interleave(torch.tensor([len(paths) for paths in paths_by_class]))
    paths = [path for paths in paths_by_class for path in paths]
    return Listing(paths, labels, ignored.total())


def _images(top: Path, allowed: Path, ignored: Counter[str]) -> Iterator[str]:
    """Yield regular files with the extension of an image, also in subfolders.

    A folder that several links point to is read once. Hidden files, files with other extensions,
    devices and pipes are skipped, and counted in `ignored`.
    """
    visited: set[Path] = set()
    for folder, subfolders, files in os.walk(top, onerror=_raise, followlinks=True):
        real = _resolve(folder, allowed)
        if real in visited:
            subfolders.clear()
            continue
        if len(Path(folder).parts) > len(top.parts) + MAX_DEPTH:
            raise BenchError(f"{top}: more than {MAX_DEPTH} nested folders")
        visited.add(real)
        hidden = {name for name in subfolders if not _is_visible(name)}
        _count_files(Path(folder), hidden, ignored)
        subfolders[:] = [name for name in subfolders if name not in hidden]
        for name in files:
            path = os.path.join(folder, name)
            is_image = _is_visible(name) and name.lower().endswith(EXTENSIONS)
            if is_image and _is_regular(path, allowed):
                yield path
            else:
                ignored[name] += 1


def _raise(error: OSError) -> None:
    raise error


def _count_files(folder: Path, names: Collection[str], ignored: Counter[str]) -> None:
    """Count in `ignored` the named files, and the files in the named folders."""
    for name in names:
        ignored[name] += not (folder / name).is_dir()
        for _, _, files in os.walk(folder / name):  # links are not followed
            ignored.update(files)


def _listed(names: Sequence[str]) -> str:
    """Return the first `MAX_LISTED` names as text, and the number of further names."""
    rest = len(names) - MAX_LISTED
    more = [f"and {rest} more"] if rest > 0 else []
    return ", ".join([*map(printable, names[:MAX_LISTED]), *more])


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name not in NOT_CLASSES


def _is_regular(path: str, allowed: Path) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and _resolve(path, allowed).is_file())


def _resolve(path: str, allowed: Path) -> Path:
    """Return a path with its symbolic links resolved; BenchError for a path outside `allowed`."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(allowed):
        raise BenchError(
            f"{printable(path)} is a link to {printable(real)}. "
            f"Allowed: links to paths below {printable(allowed)}"
        )
    return real


def class_folders(top: Path) -> list[str]:
    """Return the sorted names of the visible folders in a split's folder; [] without the folder."""
    if not top.is_dir():
        return []
    entries = [entry for entry in os.scandir(top) if _is_visible(entry.name)]
    for entry in entries:
        if entry.is_symlink() and not os.path.exists(entry):
            raise MissingData(f"{printable(entry.path)} is a link to a path that does not exist")
    return sorted(entry.name for entry in entries if entry.is_dir())
