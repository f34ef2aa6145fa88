"""Numbers that the papers print, from the transcribed tables under results/published.

A cell that was not found in a source that could be read is empty there and stays empty here.
"""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.report import deviations, wording
from bench.report.caption import arrows
from bench.report.cells import Cell, Quoted, Role
from bench.report.layout import Column, Row, Table
from bench.report.marks import marked
from bench.report.table import by_mean

_HERE = Path(__file__).parents[1]
_FILES = ("crd", "wcord", "dcd", "reproductions")
_DATA = {"cifar100": "CIFAR-100"}
_REFERENCE = "kd"
_CURRENT = "README 2025-02-11 (named DCD)"
_STYLES = {
    "Table 1": ("same architecture style", "means over 5 runs, standard deviations of Table 10"),
    "Table 2": (
        "different architecture styles", "means over 3 runs, standard deviations of Table 11"
    ),
}  # fmt: skip
_NOTES = {
    "WCoRD": "as reprinted by ITRD's README, which calls it WCoRD: evidently WCoRD+KD",
    "DCD": "authors' README of 2025-02-11, the current one of three versions",
}
_DOUBTS = {
    ("Table 7", "AB+KD", "70.27"): (
        "doubtful: 70.27 is below AB alone (72.50), every other AB+KD is above AB"
    ),
    ("Table 9 (deep mutual learning)", "SP", "73.34"): (
        "doubtful: 73.34 is far below the same network alone (79.34)"
    ),
}


@dataclass(frozen=True)
class Line:
    """One published number, or the place of one that was not found."""

    paper: str
    table: str
    data: str  # "CIFAR-100", as printed
    pair: str  # "wrn_40_2/wrn_16_2", by this package's names
    teacher: str  # as printed
    student: str
    method: str  # as printed
    metric: str
    value: float | None
    std: float | None
    source: str
    doubt: str  # why the number should not be trusted; empty for most

    @property
    def name(self) -> str:
        """The method's name in suites: `crd+kd`, `student`."""
        return self.method.lower()

    @property
    def quoted(self) -> Quoted | None:
        """The number as the content of a cell."""
        if self.value is None:
            return None
        return Quoted(self.value, self.std, _place(self.paper, self.table), self.doubt)


@cache
def lines() -> tuple[Line, ...]:
    """All transcribed numbers, in the order of the files."""
    folders = (_HERE / "published", _HERE.parent / "results" / "published")
    folder = next((one for one in folders if one.is_dir()), None)
    if folder is None:
        raise BenchError("results/published: the papers' transcribed tables are not there")
    return tuple(line for name in _FILES for line in _read(folder / f"{name}.csv"))


def quotes(data: Mapping[str, Any]) -> dict[tuple[str, str], Quoted]:
    """Published last-epoch accuracies by pair and method; none for a subset or another data set.

    data: the fields of bench.data.Selection. The first table that has a cell counts: 1 and 2 before
    7 (combinations with KD), then WCoRD and the current DCD and RRD.
    """
    printed = _DATA.get(str(data.get("name")))
    if printed is None or not deviations.whole(data):
        return {}
    found: dict[tuple[str, str], Quoted] = {}
    for line in lines():
        if line.data == printed and _main(line) and line.quoted:
            found.setdefault((line.pair, line.name), line.quoted)
    return found


def tables(pairs: Collection[str] | None = None) -> list[Table]:
    """The 13 published pairs, or some of them, in the layout of CRD's Tables 1 and 2.

    Beside CRD's own rows stand WCoRD+KD, DCD and DCD+KD. Raises BenchError where no pair is left.
    """
    made = []
    for number in _STYLES:
        main = [line for line in lines() if line.paper == "CRD" and line.table == number]
        names = dict.fromkeys(line.pair for line in main)
        kept = [name for name in names if pairs is None or name in pairs]
        if kept:
            made.append(_table(number, kept))
    if not made:
        raise BenchError("no published number: none of the suite's pairs is in the papers' tables")
    return made


def _table(number: str, pairs: Sequence[str]) -> Table:
    """One table of CRD with the rows of later papers below it."""
    style, spread = _STYLES[number]
    metric = wording.metric("top1")
    found = {
        (line.method, line.pair): line
        for line in lines()
        if line.pair in pairs and (line.table == number or _later(line))
    }
    columns = [
        Column(pair, found["Teacher", pair].teacher, found["Teacher", pair].student)
        for pair in pairs
    ]
    methods = dict.fromkeys(method for method, _ in found)
    rows = [_row(method, [found.get((method, pair)) for pair in pairs]) for method in methods]
    rows = by_mean([row for row in rows if any(c.measured for c in row.cells)], metric, _REFERENCE)
    said = wording.sentences(
        (
            f"as published, not run here: CRD (arXiv:1910.10699), {number}; {spread}",
            "top-1 test accuracy (%; higher is better) on CIFAR-100",
            "LCKT, GCKT and WCoRD without KD were not found in a source that could be read",
            "an empty cell is empty in its paper",
            arrows(rows, _REFERENCE),
        )
    )
    return Table(f"Published: {style}", said, metric, *marked(columns, rows), _REFERENCE)


def _row(method: str, found: Sequence[Line | None]) -> Row:
    roles: dict[str, Role] = {"Teacher": "teacher", "Student": "student"}
    papers = [line.paper for line in found if line]
    cells = tuple(Cell(line.quoted if line else None) for line in found)
    return Row(
        roles.get(method, "method"), method.lower(), method, cells, _NOTES.get(papers[0], "")
    )


def _main(line: Line) -> bool:
    """Whether the line is of a table of accuracies by pair and method."""
    crd = line.paper == "CRD" and line.table in ("Table 1", "Table 2", "Table 7")
    return (crd or _later(line) or line.table == _CURRENT) and line.metric == "top1_acc"


def _later(line: Line) -> bool:
    """Whether the line is of WCoRD's main tables, or of the current version of DCD."""
    wcord = line.paper == "WCoRD" and line.table.endswith("-arch table")
    return wcord or (line.paper == "DCD" and line.table == _CURRENT)


def _place(paper: str, table: str) -> str:
    if paper == "WCoRD":
        return "WCoRD, reprinted by ITRD"
    return f"{paper.split(' (')[0]}, {table.split(' (')[0]}"


def _read(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            method = re.sub(r" \(source label: .*\)$", "", row["method"])
            yield Line(
                row["paper"],
                row["table"],
                row["dataset"],
                f"{_network(row['teacher'])}/{_network(row['student'])}",
                row["teacher"],
                row["student"],
                method,
                row["metric"],
                float(row["value"]) if row["value"] else None,
                float(row["std"]) if row["std"] else None,
                row["source"],
                _DOUBTS.get((row["table"], method, row["value"]), ""),
            )


def _network(printed: str) -> str:
    """The name here of a network that the papers print so."""
    names = ("resnet50", "mobilenet_v2", "shufflenet_v1", "shufflenet_v2")
    if wide := re.fullmatch(r"WRN-(\d+)-(\d+)", printed):
        return f"wrn_{wide[1]}_{wide[2]}"
    return {wording.network(name): name for name in names}.get(printed, printed)
