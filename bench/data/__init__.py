"""Data sets: `facts` describes a data set before its images are loaded, `load` loads them.

`bench.data.base` is the interface for plugins (users' own data sets). The modules `builtin`,
`imagenet` and `folder` read images; `batches` makes batches of images on a device.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.archive import Archive
from bench.data.base import (
    PREFIX,
    Arrays,
    Augment,
    Data,
    Facts,
    LoadedData,
    Selection,
    Source,
    Split,
    check_arrays,
    read_unlabelled,
)
from bench.data.batches import Resident, Streamed
from bench.data.builtin import BUILTIN, TinyImageNet
from bench.data.folder import Folder, Listing
from bench.data.imagenet import ImageNet, ValidationView
from bench.data.images import CentreView
from bench.data.subset import select, selected_facts
from bench.errors import BenchError, unknown
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Arrays",
    "Augment",
    "Data",
    "Facts",
    "LoadedData",
    "Resident",
    "Selection",
    "Source",
    "Split",
    "Streamed",
    "data_root",
    "facts",
    "load",
    "missing",
    "names",
]

STREAM_ABOVE_BYTES = 2 * 1024**3  # decoded images of this size or less stay in device memory
WORKERS = 8  # processes that decode the files of a folder in each epoch (streaming)


def names() -> list[str]:
    """Return the sorted names of the built-in data sets, without folders (`folder:PATH`)."""
    return sorted(BUILTIN)


def facts(
    selection: Selection, root: Path | None = None, added: Mapping[str, Source] | None = None
) -> Facts:
    """Return the facts of the selected part of a data set, without loading its images.

    Args:
        selection: the name of the data set, and the part of its images.
        root: the data root, where relative paths of image folders start; None: the same default as
            in `load`.
        added: data sets of plugins by name.

    Raises:
        BenchError: the selection is impossible; the message names the allowed values.
        MissingData: a folder does not exist.

    """
    return selected_facts(selection, _source(selection, data_root(root), added).facts)


def missing(selection: Selection, root: Path | None = None) -> str | None:
    """Return how to get a data set that is missing and that `load` cannot download; else None.

    Args:
        selection: the name of the data set.
        root: the data root; None: the same default as in `load`.

    """
    source = BUILTIN.get(selection.name)
    if isinstance(source, ImageNet | TinyImageNet):
        return source.absent(data_root(root))
    return None


def load(
    selection: Selection,
    root: Path | None,
    device: torch.device,
    *,
    stream: bool | None = None,
    workers: int = WORKERS,
    added: Mapping[str, Source] | None = None,
) -> LoadedData:
    """Load the selected part of a data set, ready for training on a device.

    Args:
        selection: the name of the data set, and the part of its images.
        root: the data root, a folder for archives and downloads; None: the folder in the
            environment variable BENCH_DATA, or else `data` in the current folder.
        device: the device of the batches.
        stream: whether to decode the files of a folder again in each epoch, instead of keeping all
            images in device memory; None: only ImageNet, and folders whose images need more than
            `STREAM_ABOVE_BYTES`.
        workers: number of processes that decode a streamed folder.
        added: data sets of plugins by name.

    Returns:
        `Streamed` if files are decoded in each epoch; `Resident` if all images are on the device.

    Raises:
        BenchError: the selection is impossible, or the images differ from the data set's facts.
        MissingData: a file is missing and cannot be downloaded.

    """
    root = data_root(root)
    source = _source(selection, root, added)
    part = selected_facts(selection, source.facts)
    centre: type[CentreView | ValidationView] = CentreView
    if isinstance(source, ImageNet):
        source, centre = source.files(root, part.size), ValidationView
        stream = stream is not False
    if stream and not isinstance(source, Folder):
        raise BenchError(f"{selection.name}: only {PREFIX}PATH and imagenet can be streamed")
    if stream is None:
        stream = (part.train + part.test) * 3 * part.size**2 > STREAM_ABOVE_BYTES
    if stream and isinstance(source, Folder):
        listings = _listings(source, selection, part.classes)
        digests = {split: source.digests(listing) for split, listing in listings.items()}
        counts = _counts(part, digests)
        return Streamed(part, listings, device, workers, counts, centre=centre)
    arrays = check_arrays(source.read(root), source.facts)
    indices = select(selection, part.classes, arrays.train_labels, arrays.test_labels)
    train_set, test_set = (arrays.train, arrays.train_labels), (arrays.test, arrays.test_labels)
    splits = {}
    for split, index in indices.items():
        is_test = split == "test" and not selection.held_out
        images, labels = test_set if is_test else train_set
        splits[split] = images[index], labels[index]
    if selection.split == "unlabelled":
        others = read_unlabelled(arrays, source.facts)
        splits["train"] = others, torch.zeros(len(others), dtype=torch.int64)
    rows = {split: _row_hashes(images) for split, (images, _) in splits.items()}
    return Resident(part, splits, device, _counts(part, rows))


def _listings(source: Folder, selection: Selection, classes: int) -> dict[Split, Listing]:
    """Return the files of each split that a suite selects."""
    indices = select(selection, classes, source.train.labels, source.test.labels)
    train, test = source.train, source.train if selection.held_out else source.test
    listings = {
        split: (test if split == "test" else train).take(index) for split, index in indices.items()
    }
    if selection.split == "unlabelled":
        listings["train"] = source.unlabelled
    return listings


def _row_hashes(images: Tensor) -> list[int]:
    """Return a hash of each image's bytes; `images` is (N, C, H, W) uint8."""
    return [hash(row.tobytes()) for row in images.flatten(1).numpy()]


def _counts(part: Facts, hashes: Mapping[Split, Sequence[Hashable]]) -> dict[str, int]:
    """Return the counts for a run's record; see `Data.counts`.

    `hashes` has a hash of each image of each split. Equal hashes show which test images are also
    training images.
    """
    train = set(hashes["train"])
    copies = sum(value in train for value in hashes["test"])
    doubtful = {"ignored_files": part.ignored, "test_images_in_train": copies}
    return {
        "classes": part.classes,
        "test_images": part.test,
        **{name: number for name, number in doubtful.items() if number},
    }


def data_root(root: Path | None) -> Path:
    """Return the data root: `root`, or else the folder in BENCH_DATA, or else `data`."""
    return root if root is not None else Path(os.environ.get("BENCH_DATA") or "data")


def _source(selection: Selection, root: Path, added: Mapping[str, Source] | None) -> Source:
    if selection.name.startswith(PREFIX):
        return Folder.from_selection(selection, root)
    sources = {**BUILTIN, **(added or {})}
    if selection.name not in sources:
        raise BenchError(
            unknown("data set", selection.name, [*sources, f"{PREFIX}/path/to/images"])
        )
    source = sources[selection.name]
    return source.at(root) if isinstance(source, Archive) else source
