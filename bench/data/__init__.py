"""Data sets, one a file: what is known of them, and their batches on a device."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.data._agreement import agreeing
from bench.data._base import Arrays, Augment, Data, Facts, Selection, Source, Split
from bench.data._resident import Resident
from bench.data._share import Share
from bench.data._streamed import Streamed
from bench.data._subset import counted, places, rank
from bench.data.cifar import CIFAR10, CIFAR100
from bench.data.digits import Digits
from bench.data.fashion_mnist import FashionMnist
from bench.data.folder import PREFIX, Folder, Listing
from bench.data.packed import PREFIX as PACKED
from bench.data.packed import Packed, packed
from bench.data.stl10 import Stl10
from bench.data.tiny_imagenet import TinyImageNet
from bench.errors import BenchError, unknown

__all__ = [
    "Arrays",
    "Augment",
    "Data",
    "Facts",
    "Resident",
    "Selection",
    "Share",
    "Source",
    "Split",
    "Streamed",
    "facts",
    "load",
    "names",
    "pack",
    "rank",
]

STREAMED_FROM = 2 * 1024**3  # bytes of decoded images; smaller folders live on the device
WORKERS = 8  # processes that decode a streamed folder

_own: tuple[Source, ...] = (CIFAR10, CIFAR100, Digits(), FashionMnist(), Stl10(), TinyImageNet())
_sources: dict[str, Source] = {source.facts.name: source for source in _own}


def names() -> list[str]:
    """Return the sorted names of the built-in data sets; `folder:PATH` works too."""
    return sorted(_sources)


def facts(
    selection: Selection, root: Path | None = None, added: Mapping[str, Source] | None = None
) -> Facts:
    """What is known of a selection without reading it; counts are those of the selected part.

    `added` are the data sets of plugins by name.

    Only a folder is looked into, and only listed. Raises BenchError for an impossible selection,
    which says what is allowed, and MissingData for a folder that is not there.
    """
    return counted(selection, _source(selection, _root(root), added).facts)


def load(
    selection: Selection,
    root: Path | None,
    device: torch.device,
    *,
    stream: bool | None = None,
    workers: int = WORKERS,
    share: Share = Share(),  # noqa: B008 (frozen)
    added: Mapping[str, Source] | None = None,
) -> Data:
    """The selected part of a data set, ready on the device; its batches are cut to the share.

    Official archives are looked for under `root` (None: BENCH_DATA, or `data` here) and downloaded
    to it; MissingData where that fails. Folders of more than `STREAMED_FROM` bytes are decoded
    again each epoch, by `workers` processes; `stream` overrules that for a folder of any size.
    `added` are the data sets of plugins by name.
    """
    root = _root(root)
    source = _source(selection, root, added)
    part = counted(selection, source.facts)
    if stream and not isinstance(source, Folder):
        raise BenchError(f"{selection.name}: only {PREFIX}PATH can be streamed")
    if isinstance(source, Folder) and (_large(part) if stream is None else stream):
        return Streamed(part, _listings(selection, part, source), device, workers, share)
    whole = agreeing(source.read(root), source.facts)
    return Resident(part, _tensors(selection, part, whole), device, share)


def pack(
    selection: Selection, root: Path | None, added: Mapping[str, Source] | None = None
) -> bytes:
    """The whole data set that a selection is of, decoded, as the file of `packed:PATH`.

    BenchError for a folder that is too large to be held in memory.
    """
    root = _root(root)
    source = _source(selection, root, added)
    if isinstance(source, Folder) and _large(source.facts):
        raise BenchError(
            f"{selection.name}: too large to be held in memory, {STREAMED_FROM:,} bytes"
        )
    return packed(source.read(root), source.facts)


def _root(root: Path | None) -> Path:
    return root if root is not None else Path(os.environ.get("BENCH_DATA") or "data")


def _source(selection: Selection, root: Path, added: Mapping[str, Source] | None) -> Source:
    if selection.name.startswith(PREFIX):
        return Folder.of(selection, root)
    if selection.name.startswith(PACKED):
        return Packed(Path(selection.name.removeprefix(PACKED)))
    sources = {**_sources, **(added or {})}
    if selection.name not in sources:
        raise BenchError(
            unknown("data set", selection.name, [*sources, f"{PREFIX}/path/to/images"])
        )
    return sources[selection.name]


def _large(part: Facts) -> bool:
    return (part.train + part.test) * 3 * part.size**2 > STREAMED_FROM


def _listings(selection: Selection, part: Facts, source: Folder) -> dict[Split, Listing]:
    train, test = source.train, source.test
    chosen = places(selection, part.classes, train.labels, test.labels)
    splits: dict[Split, Listing] = {
        "train": train.only(chosen.train),
        "test": test.only(chosen.test),
    }
    if selection.validation:
        splits["validation"] = train.only(chosen.validation)
    return splits


def _tensors(
    selection: Selection, part: Facts, whole: Arrays
) -> dict[Split, tuple[Tensor, Tensor]]:
    chosen = places(selection, part.classes, whole.train_labels, whole.test_labels)
    splits: dict[Split, tuple[Tensor, Tensor]] = {
        "train": (whole.train[chosen.train], whole.train_labels[chosen.train]),
        "test": (whole.test[chosen.test], whole.test_labels[chosen.test]),
    }
    if selection.validation:
        held = chosen.validation
        splits["validation"] = (whole.train[held], whole.train_labels[held])
    return splits
