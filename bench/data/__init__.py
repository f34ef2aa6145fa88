"""Data sets: their facts, known without reading them, and their batches on a device.

`bench.data.base` is the contract for plugins. `builtin` and `folder` are the sources; `batches`
yields the batches.
"""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.data.base import Arrays, Augment, Data, Facts, Selection, Source, Split, check_arrays
from bench.data.batches import Resident, Streamed
from bench.data.builtin import BUILTIN
from bench.data.folder import PREFIX, Folder
from bench.data.subset import select, selected_facts
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


def names() -> list[str]:
    """Return the sorted names of the built-in data sets.

    `folder:PATH` is a data set too, but not listed.
    """
    return sorted(BUILTIN)


def facts(
    selection: Selection, root: Path | None = None, added: Mapping[str, Source] | None = None
) -> Facts:
    """Return the facts of the selected part of a data set, without reading an image.

    Args:
        selection: the data set and the part of it.
        root: the data root, for folders with a relative path; None for the default of `load`.
        added: data sets of plugins by name.

    Raises:
        BenchError: the selection is impossible; the message names the allowed values.
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
    if stream is None:
        stream = (part.train + part.test) * 3 * part.size**2 > STREAM_ABOVE_BYTES
    if stream and isinstance(source, Folder):
        train, test = source.train, source.test
        indices = select(selection, part.classes, train.labels, test.labels)
        listings = {
            split: (test if split == "test" else train).take(index)
            for split, index in indices.items()
        }
        digests = {split: source.digests(listing) for split, listing in listings.items()}
        return Streamed(part, listings, device, workers, _counts(part, digests))
    arrays = check_arrays(source.read(root), source.facts)
    train_set, test_set = (arrays.train, arrays.train_labels), (arrays.test, arrays.test_labels)
    splits = {}
    for split, index in select(selection, part.classes, train_set[1], test_set[1]).items():
        images, labels = test_set if split == "test" else train_set
        splits[split] = images[index], labels[index]
    rows = {split: _row_hashes(images) for split, (images, _) in splits.items()}
    return Resident(part, splits, device, _counts(part, rows))


def _row_hashes(images: Tensor) -> list[int]:
    """Return a hash of each image (C, H, W), from its bytes."""
    return [hash(row.tobytes()) for row in images.flatten(1).numpy()]


def _counts(part: Facts, hashes: Mapping[Split, Sequence[Hashable]]) -> dict[str, int]:
    """Return the counts for a run's record; the last two only if they are not 0."""
    train = set(hashes["train"])
    copies = sum(value in train for value in hashes["test"])
    doubtful = {"ignored_files": part.ignored, "test_images_in_train": copies}
    return {
        "classes": part.classes,
        "test_images": part.test,
        **{name: number for name, number in doubtful.items() if number},
    }


def _data_root(root: Path | None) -> Path:
    return root if root is not None else Path(os.environ.get("BENCH_DATA") or "data")


def _source(selection: Selection, root: Path, added: Mapping[str, Source] | None) -> Source:
    if selection.name.startswith(PREFIX):
        return Folder.from_selection(selection, root)
    sources = {**BUILTIN, **(added or {})}
    if selection.name not in sources:
        raise BenchError(
            unknown("data set", selection.name, [*sources, f"{PREFIX}/path/to/images"])
        )
    return sources[selection.name]
