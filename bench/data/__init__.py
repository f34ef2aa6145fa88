"""Data sets: facts that are known without reading them, and batches on a device.

`bench.data.base` is the contract for plugins. `builtin`, `tiny_imagenet` and `folder` are the
sources; `resident` and `streamed` yield the batches.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.data.base import Arrays, Augment, Data, Facts, Selection, Source, Split, check_arrays
from bench.data.builtin import CIFAR10, CIFAR100, Digits, FashionMnist, Stl10
from bench.data.folder import PREFIX, Folder, Listing
from bench.data.resident import Resident
from bench.data.streamed import Streamed
from bench.data.subset import select, selected_facts
from bench.data.tiny_imagenet import TinyImageNet
from bench.errors import BenchError, unknown

__all__ = [
    "Arrays",
    "Augment",
    "Data",
    "Facts",
    "Resident",
    "Selection",
    "Source",
    "Split",
    "Streamed",
    "facts",
    "load",
    "names",
]

STREAM_ABOVE_BYTES = 2 * 1024**3  # of decoded images; smaller folders stay on the device
WORKERS = 8  # processes that decode a streamed folder

_sources: dict[str, Source] = {
    source.facts.name: source
    for source in (CIFAR10, CIFAR100, Digits(), FashionMnist(), Stl10(), TinyImageNet())
}


def names() -> list[str]:
    """Return the sorted names of the built-in data sets.

    `folder:PATH` is a data set too, but not listed.
    """
    return sorted(_sources)


def facts(
    selection: Selection, root: Path | None = None, added: Mapping[str, Source] | None = None
) -> Facts:
    """Return the facts of the selected part of a data set, without reading an image.

    Args:
        selection: the data set and the part of it.
        root: the data root, for folders with a relative path; None for the default of `load`.
        added: data sets of plugins by name.

    Raises:
        BenchError: the selection is impossible; the message says what is allowed.
        MissingData: a folder does not exist.

    """
    return selected_facts(selection, _source(selection, _data_root(root), added).facts)


def load(
    selection: Selection,
    root: Path | None,
    device: torch.device,
    *,
    stream: bool | None = None,
    workers: int = WORKERS,
    added: Mapping[str, Source] | None = None,
) -> Data:
    """Load the selected part of a data set, ready for training on a device.

    Args:
        selection: the data set and the part of it.
        root: the data root, where archives are read from and downloaded to; None for the
            environment variable BENCH_DATA, or else the folder `data` here.
        device: where batches are needed.
        stream: whether to decode a folder again in each epoch; None for folders of more than
            `STREAM_ABOVE_BYTES` bytes.
        workers: processes that decode a streamed folder.
        added: data sets of plugins by name.

    Raises:
        BenchError: the selection is impossible, or the data differ from their facts.
        MissingData: a file is missing, and it cannot be downloaded.

    """
    root = _data_root(root)
    source = _source(selection, root, added)
    part = selected_facts(selection, source.facts)
    if stream and not isinstance(source, Folder):
        raise BenchError(f"{selection.name}: only {PREFIX}PATH can be streamed")
    if isinstance(source, Folder) and (_is_large(part) if stream is None else stream):
        return Streamed(part, _split_listings(selection, part, source), device, workers)
    arrays = check_arrays(source.read(root), source.facts)
    return Resident(part, _split_arrays(selection, part, arrays), device)


def _data_root(root: Path | None) -> Path:
    return root if root is not None else Path(os.environ.get("BENCH_DATA") or "data")


def _source(selection: Selection, root: Path, added: Mapping[str, Source] | None) -> Source:
    if selection.name.startswith(PREFIX):
        return Folder.from_selection(selection, root)
    sources = {**_sources, **(added or {})}
    if selection.name not in sources:
        raise BenchError(
            unknown("data set", selection.name, [*sources, f"{PREFIX}/path/to/images"])
        )
    return sources[selection.name]


def _is_large(part: Facts) -> bool:
    return (part.train + part.test) * 3 * part.size**2 > STREAM_ABOVE_BYTES


def _split_listings(selection: Selection, part: Facts, source: Folder) -> dict[Split, Listing]:
    train, test = source.train, source.test
    indices = select(selection, part.classes, train.labels, test.labels)
    splits: dict[Split, Listing] = {
        "train": train.take(indices.train),
        "test": test.take(indices.test),
    }
    if selection.validation:
        splits["validation"] = train.take(indices.validation)
    return splits


def _split_arrays(
    selection: Selection, part: Facts, arrays: Arrays
) -> dict[Split, tuple[Tensor, Tensor]]:
    train, train_labels = arrays.train, arrays.train_labels
    indices = select(selection, part.classes, train_labels, arrays.test_labels)
    splits: dict[Split, tuple[Tensor, Tensor]] = {
        "train": (train[indices.train], train_labels[indices.train]),
        "test": (arrays.test[indices.test], arrays.test_labels[indices.test]),
    }
    if selection.validation:
        splits["validation"] = (train[indices.validation], train_labels[indices.validation])
    return splits
