"""Merge the records of several results folders into a new folder, by run id."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.results.files import sha256
from bench.results.pool import WITH_RESULT, Disagreement, Pool
from bench.results.store import DIFFERING, Results, Unwritable

COPIED = ("plans", "tuned")  # folders whose files are copied, too


@dataclass(frozen=True)
class Merge:
    """What a merge wrote, and what it left out.

    Attributes:
        counts: Number of valid records in each folder, by the folder's name.
        records: Number of records in the new folder; 0 if nothing was written.
        equal: Number of runs with results in several folders, whose numbers are equal.
        weights: Number of files of weights that were copied.
        disagreements: Runs whose copies have different numbers.
        problems: Sentences about damaged records, and about other files that were not copied.
    """

    counts: dict[str, int]
    records: int
    equal: int
    weights: int
    disagreements: tuple[Disagreement, ...]
    problems: tuple[str, ...]


def merge(pool: Pool, output: Path, *, keep_first: bool = False, weights: bool = True) -> Merge:
    """Write one record of each run to a new results folder; `pool.RULE` says which.

    If copies of a run have different numbers, nothing is written, unless `keep_first` is true. Then
    all copies are stored in the folder `differing`, so that tables tell the disagreement.

    Args:
        pool: The records.
        output: The new folder.
        keep_first: Whether to keep the record of the first folder if numbers differ.
        weights: Whether to copy weights, too. A file is copied only if its SHA-256 is the one in
            the record that is kept.

    Raises:
        BenchError: The folder is not empty, or there is no record.
        Unwritable: A file cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BenchError(f"{output}: not empty. Allowed: a new folder, or an empty one")
    if not pool.copies:
        folders = ", ".join(map(str, pool.folders))
        raise BenchError(f"{folders}: no valid record. Allowed: folders that `bench run` wrote to")
    differing = pool.disagreements()
    shared = sum(
        len({copy.folder for copy in copies if copy.record.status in WITH_RESULT}) > 1
        for copies in pool.copies.values()
    )
    problems = [str(error) for error in pool.damaged]
    records = copied = 0
    if keep_first or not differing:
        results = Results(output)
        with results.lock():
            copied = sum(_copy_weights(pool, results, run) for run in pool.copies if weights)
            problems += _copy_plans(pool, output)
            for each in differing:
                _store_differing(pool, each, output)
            for run in pool.copies:
                if (kept := pool.kept(run)) is not None:
                    _copy(kept.path, results.file(run))
                    records += 1
    counts = {
        name: sum(any(copy.folder == folder for copy in each) for each in pool.copies.values())
        for folder, name in zip(pool.folders, pool.names, strict=True)
    }
    equal = max(shared - len(differing), 0)
    return Merge(counts, records, equal, copied, tuple(differing), tuple(problems))


def _store_differing(pool: Pool, disagreement: Disagreement, output: Path) -> None:
    """Copy all copies of a run, each to a folder with the name of its source."""
    taken: dict[str, str] = {}
    for copy in pool.copies[disagreement.run]:
        name = base = copy.source.replace("/", "-").lstrip(".") or "results"
        number = 2
        while taken.get(name, copy.digest) != copy.digest:
            name, number = f"{base}-{number}", number + 1
        taken[name] = copy.digest
        _copy(copy.path, output / DIFFERING / name / copy.path.name)


def _copy_weights(pool: Pool, results: Results, run: str) -> int:
    """Copy the weights that the kept record names, from the first folder that has them."""
    kept = pool.kept(run)
    if kept is None or kept.record.weights is None:
        return 0
    folders = [kept.folder, *(copy.folder for copy in pool.copies[run])]
    for folder in dict.fromkeys(folders):
        path = Results(folder).weights(run)
        if path.is_file() and sha256(path) == kept.record.weights:
            _copy(path, results.weights(run))
            return 1
    return 0


def _copy_plans(pool: Pool, output: Path) -> Iterator[str]:
    """Copy saved plans and choices of trials; yield a sentence for each file that differs."""
    for part in COPIED:
        for folder in pool.folders:
            for path in sorted((folder / part).glob("*.json")):
                target = output / part / path.name
                if path.is_symlink():
                    yield f"{path}: not copied, because it is a link"
                elif not target.exists():
                    _copy(path, target)
                elif sha256(target) != sha256(path):
                    yield f"{path}: not copied, because an earlier folder has another {path.name}"


def _copy(path: Path, target: Path) -> None:
    """Copy a file atomically; a large file is copied in parts."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(path, part)
        part.replace(target)
    except OSError as error:
        raise Unwritable(f"{target}: cannot be written: {error.strerror or error}") from error
