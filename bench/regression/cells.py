"""The cells of a suite as the gate sees them: every metric by seed, and the setting behind it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from bench.report import cells
from bench.report.cells import Entry, Hole

Record = Any

_APART = ("seed", "method", "teacher")  # what a setting is not, or holds in another form


@dataclass(frozen=True)
class Summary:
    """A metric of one cell: what a baseline keeps of it."""

    mean: float
    std: float | None  # unbiased; None: unknown, as for a single run
    n: int
    values: Mapping[int, float] = field(default_factory=dict)  # by seed, where they are known

    @classmethod
    def of(cls, values: Mapping[int, float]) -> "Summary":
        """The summary of at least one value."""
        found = list(values.values())
        return cls(fmean(found), stdev(found) if len(found) > 1 else None, len(found), values)


@dataclass(frozen=True)
class Cell:
    """One method on one pair: its metrics, or why there are none, and how they came about."""

    pair: str
    method: str
    label: str
    metrics: Mapping[str, Summary] = field(default_factory=dict)
    hole: Hole | None = None  # also where only some seeds have a result
    setting: Mapping[str, Any] = field(default_factory=dict)  # data, networks, recipes; no seed
    terms: Mapping[str, Any] = field(default_factory=dict)  # of the method's objective
    teachers: tuple[str, ...] = ()  # SHA-256 of the weights that the runs learned from

    @property
    def name(self) -> str:
        """How people call it: `resnet8x4/resnet8 crd+kd`."""
        return f"{self.pair} {self.method}"

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by in a baseline."""
        return self.pair, self.method

    def identical(self, other: "Cell") -> bool:
        """Whether both have the same seeds, and in every metric the same numbers bit for bit."""
        shared = self.metrics.keys() & other.metrics.keys()
        return bool(shared) and all(
            bool(self.metrics[name].values)
            and self.metrics[name].values == other.metrics[name].values
            for name in shared
        )


def from_entries(entries: Iterable[Entry]) -> list[Cell]:
    """The cells of a suite, teachers aside: one teacher's single run has no spread to judge by."""
    teachers: dict[tuple[str, int], Record | None] = {}
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry.role == "teacher":
            teachers[entry.pair, entry.seed] = entry.record
        else:
            groups.setdefault((entry.pair, entry.method), []).append(entry)
    return [_cell(group, teachers.get((group[0].pair, group[0].seed))) for group in groups.values()]


def from_records(records: Iterable[Record]) -> list[Cell]:
    """The cells of a results folder, teachers among them; another setting is another cell."""
    known = {str(record["id"]): record for record in records}
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for record in known.values():
        pair, method = _named(record)
        seed = int(record.get("seed", 0))
        setting, terms = _setting(record, _teacher(record, known))
        apart = json.dumps([setting, terms], sort_keys=True)
        entry = Entry(pair, "", "", method, seed, record)
        groups.setdefault((pair, method, apart), []).append(entry)
    return [
        _cell(group, _teacher(group[0].record or {}, known))
        for _, group in sorted(groups.items(), key=lambda item: item[0])
    ]


def _cell(group: Sequence[Entry], teacher: Record | None) -> Cell:
    """The cell of all seeds of one method on one pair."""
    first = group[0]
    done = {
        int(entry.seed): entry.record
        for entry in sorted(group, key=lambda entry: entry.seed)
        if entry.record is not None and entry.record.get("status") == "done"
    }
    measured = {seed: _metrics(record) for seed, record in done.items()}
    common = set.intersection(*(set(found) for found in measured.values())) if measured else set()
    metrics = {
        name: Summary.of({seed: found[name] for seed, found in measured.items()})
        for found in list(measured.values())[:1]
        for name in found
        if name in common
    }
    setting, terms = _setting(next(iter(done.values()), first.record or {}), teacher)
    weights = {str((record.get("teacher") or {}).get("sha256") or "") for record in done.values()}
    return Cell(
        first.pair,
        first.method,
        first.label or first.method,
        metrics,
        cells.cell(group, "top1").hole,
        setting,
        terms,
        tuple(sorted(weights - {""})),
    )


def _metrics(record: Record) -> dict[str, float]:
    """All metrics of a record that are numbers; `oracle` is the best top-1 of any epoch."""
    found = record.get("metrics") or {}
    named = {**(found.get("last") or {}), "oracle": (found.get("oracle") or {}).get("top1")}
    numbers = {name: cells.measured(value) for name, value in named.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _setting(record: Record, teacher: Record | None) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """What a record's run was, without its seed: the setting of its pair, and its method's terms.

    The teacher stands in it as it was specified, not by the id of its run, which has a seed.
    """
    of = record.get("specification") or {}
    setting = {key: value for key, value in of.items() if key not in _APART}
    theirs = (teacher or {}).get("specification") or {}
    if theirs:
        kept = {key: value for key, value in theirs.items() if key not in ("seed", "data")}
        setting["teacher"] = kept
    return setting, of.get("method") or {}


def _teacher(record: Record, known: Mapping[str, Record]) -> Record | None:
    """The record of a record's teacher, where the folder has it."""
    return known.get(str((record.get("specification") or {}).get("teacher")))


def _named(record: Record) -> tuple[str, str]:
    """Pair and method of a record by its name, `resnet8x4/resnet8 kd seed 0`."""
    label = re.sub(r" seed -?\d+$", "", str(record.get("name") or record["id"]))
    pair, _, method = label.partition(" ")
    return pair, method or str(record.get("kind", "teacher"))
