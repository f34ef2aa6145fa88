"""Tiny ImageNet: 110,000 labelled photographs of 64 x 64 pixels, 200 classes (Stanford CS231n)."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.data.base import Arrays, Facts
from bench.data.download import missing_archive
from bench.data.images import decode_all
from bench.errors import BenchError, MissingData

FOLDER = "tiny-imagenet-200"
MAX_FILE_BYTES = 16 * 1024**2  # of an unpacked file; the official files are smaller
NO_DOWNLOAD = "it is not downloaded for you (see http://cs231n.stanford.edu/tiny-imagenet-200.zip)"

FACTS = Facts(
    name="tiny_imagenet",
    classes=200,
    size=64,
    train=100_000,
    test=10_000,
    mean=(0.4802, 0.4481, 0.3975),  # as DCD's transfer_student.py
    std=(0.2770, 0.2691, 0.2821),
    fingerprint="md5:90528d7ca1a48142e341f4ef8d21d0de",
)


@dataclass(frozen=True)
class Files:
    """The files of the folder or archive: their relative paths and a function to read them."""

    names: list[str]
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class TinyImageNet:
    """The official archive, packed or unpacked, without its unlabelled test images.

    Classes are numbered in the alphabetical order of their WordNet ids, as in image folders.
    The official validation images are the test set.
    """

    facts: Facts = FACTS

    def read(self, root: Path) -> Arrays:
        """Read all images, in the order of their paths (train) and of the annotations (test)."""
        with self._files(root) as files:
            try:
                return self._arrays(files)
            except (FileNotFoundError, KeyError, ValueError) as error:
                raise self._missing(root, f"a part of it is missing ({error})") from error

    def _arrays(self, files: Files) -> Arrays:
        wnids = sorted(files.read("wnids.txt").decode().split())
        label = {wnid: index for index, wnid in enumerate(wnids)}
        train = sorted(n for n in files.names if n.startswith("train/") and n.endswith(".JPEG"))
        lines = files.read("val/val_annotations.txt").decode().splitlines()
        test = [line.split("\t")[:2] for line in lines]
        size = self.facts.size
        return Arrays(
            decode_all(map(files.read, train), size),
            torch.tensor([label[name.split("/")[1]] for name in train]),
            decode_all((files.read(f"val/images/{name}") for name, _ in test), size),
            torch.tensor([label[wnid] for _, wnid in test]),
        )

    @contextmanager
    def _files(self, root: Path) -> Iterator[Files]:
        top, archive = root / FOLDER, root / f"{FOLDER}.zip"
        if top.is_dir():
            yield _unpacked_files(top)
        elif archive.is_file() and f"md5:{_md5(archive)}" == self.facts.fingerprint:
            with zipfile.ZipFile(archive) as archive_file:
                yield _packed_files(archive_file)
        else:
            raise self._missing(root, NO_DOWNLOAD)

    def _missing(self, root: Path, reason: str) -> MissingData:
        archive = f"{FOLDER}.zip (unpacked: {FOLDER}/)"
        return missing_archive(self.facts.name, archive, root, reason)


def _unpacked_files(top: Path) -> Files:
    names = [path.relative_to(top).as_posix() for path in top.glob("train/*/images/*.JPEG")]
    return Files(names, lambda name: _content(top, name))


def _content(top: Path, name: str) -> bytes:
    """Return the content of a file; BenchError if it is outside the folder or too large."""
    path = (top / name).resolve()
    if not path.is_relative_to(top.resolve()):
        raise BenchError(f"{top}: '{name}' is outside this folder")
    if not path.is_file():
        raise FileNotFoundError(name)
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise BenchError(f"{path} has more than {MAX_FILE_BYTES:,} bytes")
    return content


def _packed_files(archive: zipfile.ZipFile) -> Files:
    prefix = f"{FOLDER}/"
    names = [name.removeprefix(prefix) for name in archive.namelist()]
    return Files(names, lambda name: archive.read(f"{prefix}{name}"))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
