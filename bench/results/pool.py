"""The records of several results folders as one collection, and where copies of a run disagree.

Several machines or people may train the same run. Its id is then the same, because it is the hash
of the run's specification. The numbers may differ, for example because processors round
differently. A pool chooses one copy of each run by a fixed rule and lists the other numbers.
"""

from collections.abc import Collection, Iterator, Sequence
from copy import copy as copy_object
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.errors import BenchError
from bench.results.files import sha256
from bench.results.record import Epoch, Record
from bench.results.store import DIFFERING, Corrupt, Results, read_record

WITH_RESULT = ("done", "diverged")  # other runs have no numbers
RULE = (
    "copies with a result count before failed and skipped ones; of copies with equal numbers, the "
    "one that finished first is kept, then the one whose file has the smaller SHA-256; of copies "
    "with different numbers, the one of the first folder"
)
Value = float | int | str | None


@dataclass(frozen=True)
class Copy:
    """The record of a run in one folder.

    Attributes:
        record: The record, without curves.
        path: The file.
        folder: The results folder.
        source: Name of the folder that the record comes from, in messages.
    """

    record: Record
    path: Path
    folder: Path
    source: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.path)

    @cached_property
    def numbers(self) -> dict[str, Value]:
        """The results of the run, by name, without times and machines."""
        return numbers(_read(self.path, self.record.id))


@dataclass(frozen=True)
class Disagreement:
    """A run whose copies have different numbers.

    Attributes:
        run: The run's id.
        name: The run's name.
        copies: One copy of each set of numbers; the first is the copy that is kept.
        sources: For each copy, the names of all folders with these numbers.
        values: The values of each copy, for each number that differs.
    """

    run: str
    name: str
    copies: tuple[Copy, ...]
    sources: tuple[tuple[str, ...], ...]
    values: dict[str, tuple[Value, ...]]


class Pool(Results):
    """The records of several results folders, read as if one folder held them.

    Args:
        folders: Paths of the folders; the order matters only for runs whose copies disagree.

    Attributes:
        folders: The folders.
        names: Short name of each folder, in the same order.
        copies: All copies of each run, by id, in the order of the folders.
        damaged: The files that are not valid records; they are left out.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(folders[0])
        self.folders, self.names = tuple(folders), short_names(folders)
        self.copies: dict[str, list[Copy]] = {}
        self.damaged: list[BenchError] = []
        self._preferred: frozenset[str] = frozenset()
        self._kept: dict[str, Copy] = {}
        for folder, name in zip(folders, self.names, strict=True):
            self._add(folder, name)
        self.copies = dict(sorted(self.copies.items()))

    def _add(self, folder: Path, name: str) -> None:
        files = [(path, name) for path in sorted((folder / "runs").glob("*.json"))]
        stored = sorted(folder.glob(f"{DIFFERING}/*/*.json"))
        files += [(path, path.parent.name) for path in stored]
        for path, source in files:
            try:
                record = _read(path, path.stem, curves=False)
                _check_id(record, path)
            except BenchError as error:
                self.damaged.append(error)
                continue
            copies = self.copies.setdefault(record.id, [])
            copies.append(Copy(record, path, folder, source))

    def kept(self, run: str) -> Copy | None:
        """Return the copy of a run that tables show, by `RULE`; None if there is no copy."""
        if run not in self._kept and (copies := self.copies.get(run)):
            preferred = [copy for copy in copies if copy.source in self._preferred]
            usable = [copy for copy in preferred if copy.record.status in WITH_RESULT]
            self._kept[run] = _choose(usable or copies)
        return self._kept.get(run)

    def preferring(self, names: Collection[str]) -> "Pool":
        """Return the same records; runs with a result in these folders keep one of its copies.

        Args:
            names: Short names of folders, such as those in which a suite ran.
        """
        pool = copy_object(self)
        pool._preferred, pool._kept = frozenset(names), {}
        return pool

    def record(self, run: str, *, curves: bool = True) -> Record | None:
        """Return the record of a run that is kept; None if there is no valid record."""
        copy = self.kept(run)
        if copy is None:
            return None
        return _read(copy.path, run) if curves else copy.record

    def records(self, *, curves: bool = True) -> Iterator[Record]:
        """Yield the kept record of each run, sorted by id."""
        for run in self.copies:
            if (record := self.record(run, curves=curves)) is not None:
                yield record

    def differing(self, run: str) -> list[Path]:
        """Return the files with other numbers than the record that is kept."""
        disagreement = self._disagreement(run)
        return [copy.path for copy in disagreement.copies[1:]] if disagreement else []

    def disagreements(self) -> list[Disagreement]:
        """Return the runs whose copies have different numbers, sorted by id."""
        return [each for run in self.copies if (each := self._disagreement(run))]

    def _disagreement(self, run: str) -> Disagreement | None:
        copies = [c for c in self.copies.get(run, ()) if c.record.status in WITH_RESULT]
        kept = self.kept(run)
        if kept is None or len(copies) < 2 or len({copy.digest for copy in copies}) < 2:
            return None
        groups: list[list[Copy]] = []
        for copy in sorted(copies, key=lambda copy: copy is not kept):
            equal = (group for group in groups if group[0].numbers == copy.numbers)
            if group := next(equal, None):
                group.append(copy)
            else:
                groups.append([copy])
        if len(groups) < 2:
            return None
        first = tuple(group[0] for group in groups)
        sources = tuple(tuple(dict.fromkeys(copy.source for copy in group)) for group in groups)
        return Disagreement(run, kept.record.name, first, sources, _differences(first))


def numbers(record: Record) -> dict[str, Value]:
    """Return the results of a run by name: status, metrics, weights, and the values of curves.

    Times, memory and the environment are left out: they differ between any two trainings.

    Args:
        record: The record, with its curves.
    """
    values: dict[str, Value] = {"status": record.status}
    for source, metrics in record.metrics.items():
        values |= {f"{source}.{name}": value for name, value in metrics.items()}
    if record.teacher:
        values["teacher.top1"] = record.teacher.top1
        values["teacher.weights"] = record.teacher.sha256
    values["weights"] = record.weights
    for epoch in record.curves:
        values |= {f"epoch {epoch.epoch}: {name}": value for name, value in _results(epoch)}
    return values


def _results(epoch: Epoch) -> Iterator[tuple[str, Value]]:
    yield "loss", epoch.loss
    for kind, metrics in (("", epoch.terms), ("test.", epoch.test), ("held.", epoch.validation)):
        yield from ((f"{kind}{name}", value) for name, value in metrics.items())


def short_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the shortest end of each path that no other path has, such as `lab/results`."""
    parts = [folder.absolute().parts for folder in folders]
    names = []
    for path in parts:
        for length in range(1, len(path) + 1):
            end = path[-length:]
            if sum(other[-length:] == end for other in parts) == 1:
                break
        names.append("/".join(end).replace("//", "/"))
    return tuple(names)


def _choose(copies: Sequence[Copy]) -> Copy:
    """Return the copy that is kept, by `RULE`."""
    usable = [copy for copy in copies if copy.record.status in WITH_RESULT] or list(copies)
    if len(usable) == 1 or len({copy.digest for copy in usable}) == 1:
        return usable[0]
    if any(copy.numbers != usable[0].numbers for copy in usable[1:]):
        return usable[0]
    return min(usable, key=lambda copy: (copy.record.finished or "~", copy.digest))


def _differences(copies: Sequence[Copy]) -> dict[str, tuple[Value, ...]]:
    """Return the values that differ; of the curves, only the first epoch that differs."""
    names = dict.fromkeys(name for copy in copies for name in copy.numbers)
    rows = {name: tuple(copy.numbers.get(name) for copy in copies) for name in names}
    different = {name: row for name, row in rows.items() if len(set(row)) > 1}
    epochs = [name.partition(":")[0] for name in different if name.startswith("epoch ")]
    first = min(epochs, key=lambda name: int(name.split()[1]), default="")
    return {
        name: row
        for name, row in different.items()
        if not name.startswith("epoch ") or name.startswith(f"{first}:")
    }


def _read(path: Path, run: str, *, curves: bool = True) -> Record:
    record = read_record(path, run, curves=curves)
    if record is None:
        raise BenchError(f"{path}: deleted while it was read")
    return record


def _check_id(record: Record, path: Path) -> None:
    """Raise Corrupt if the id is not the hash of the specification."""
    if record.specification.id != record.id:
        raise Corrupt(path, f"its specification has the id {record.specification.id}")
