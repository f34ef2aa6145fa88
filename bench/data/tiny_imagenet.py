"""Tiny ImageNet: 110,000 labelled photographs of 64 x 64 pixels, 200 classes (Stanford CS231n)."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.data._base import Arrays, Facts
from bench.data._official import missing
from bench.data._pictures import stack
from bench.errors import BenchError, MissingData

FOLDER = "tiny-imagenet-200"
LARGEST = 16 * 1024**2  # bytes of an unpacked file; the official ones have less
WHY_NOT = "it is not downloaded for you (see http://cs231n.stanford.edu/tiny-imagenet-200.zip)"

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
    """The folder or the archive, whichever is there: paths below the top and their bytes."""

    names: list[str]
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class TinyImageNet:
    """The official archive as it is, or unpacked; its unlabelled test images are left out.

    Classes are numbered in the alphabetical order of their WordNet names, as image folders are.
    The official validation images are the test set.
    """

    facts: Facts = FACTS

    def read(self, root: Path) -> Arrays:
        """All images, in the order of their paths (train) and of the annotations (test)."""
        with self._files(root) as files:
            try:
                return self._arrays(files)
            except (FileNotFoundError, KeyError, ValueError) as error:
                raise self._missing(root, f"a part of it is not there ({error})") from error

    def _arrays(self, files: Files) -> Arrays:
        wnids = sorted(files.read("wnids.txt").decode().split())
        number = {wnid: place for place, wnid in enumerate(wnids)}
        train = sorted(n for n in files.names if n.startswith("train/") and n.endswith(".JPEG"))
        lines = files.read("val/val_annotations.txt").decode().splitlines()
        tested = [line.split("\t")[:2] for line in lines]
        size = self.facts.size
        return Arrays(
            stack(map(files.read, train), size),
            torch.tensor([number[name.split("/")[1]] for name in train]),
            stack((files.read(f"val/images/{name}") for name, _ in tested), size),
            torch.tensor([number[wnid] for _, wnid in tested]),
        )

    @contextmanager
    def _files(self, root: Path) -> Iterator[Files]:
        top, archive = root / FOLDER, root / f"{FOLDER}.zip"
        if top.is_dir():
            yield _unpacked(top)
        elif archive.is_file() and f"md5:{_md5(archive)}" == self.facts.fingerprint:
            with zipfile.ZipFile(archive) as packed:
                yield _packed(packed)
        else:
            raise self._missing(root, WHY_NOT)

    def _missing(self, root: Path, why: str) -> MissingData:
        return missing(self.facts.name, f"{FOLDER}.zip (unpacked: {FOLDER}/)", root, why)


def _unpacked(top: Path) -> Files:
    found = top.glob("train/*/images/*.JPEG")
    names = [path.relative_to(top).as_posix() for path in found]
    return Files(names, lambda name: _content(top, name))


def _content(top: Path, name: str) -> bytes:
    """What a file in the folder holds; BenchError for one that lies elsewhere, or is too large."""
    path = (top / name).resolve()
    if not path.is_relative_to(top.resolve()):
        raise BenchError(f"{top}: '{name}' leads out of this folder")
    if not path.is_file():
        raise FileNotFoundError(name)
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise BenchError(f"{path} has more than {LARGEST:,} bytes")
    return content


def _packed(archive: zipfile.ZipFile) -> Files:
    below = len(FOLDER) + 1
    names = [name[below:] for name in archive.namelist()]
    return Files(names, lambda name: archive.read(f"{FOLDER}/{name}"))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
