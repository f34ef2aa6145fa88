"""Numbers that the papers print, read from the transcribed CSV files in results/published.

If no readable source prints a number, its value in the CSV file is empty.
"""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench.errors import BenchError
from bench.report import labels
from bench.report.caption import arrows, data_deviation, mark, published_caption
from bench.report.comparison import by_mean
from bench.report.model import Cell, Column, PublishedValue, Role, Row, Table
from bench.spec import DataSpec

_HERE = Path(__file__).parents[1]
_FILES = ("crd", "wcord", "dcd", "modern", "reproductions")
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
_DOUBTS: Mapping[tuple[str, str, float | None], str] = {
    ("Table 7", "AB+KD", 70.27): (
        "doubtful: 70.27 is below AB alone (72.50), every other AB+KD is above AB"
    ),
    ("Table 9 (deep mutual learning)", "SP", 73.34): (
        "doubtful: 73.34 is far below the same network alone (79.34)"
    ),
}
_LAST_EPOCH = ("CRD", "WCoRD", "DCD")  # papers whose tables hold last epochs
BEST_EPOCH = "of the best epoch on the test set; ours is of the last epoch"
_NAMES = {  # names in suites, by printed names in lower case
    "ickd-c": "ickd",
    "ickd-c+kd": "ickd+kd",
    "kd+lskd": "lskd",
    "dkd+lskd": "dkd+ls",
    "mlkd+lskd": "mlkd+ls",
    "ctkd+lskd": "ctkd+ls",
    "simkd (f=2)": "simkd",
}
_ROLES: dict[str, Role] = {"Teacher": "teacher", "Student": "student"}


class Line(BaseModel, frozen=True):
    """A line of a CSV file: one published number, or None if no readable source prints it.

    Teacher, student, method and data set have the names that the source prints.
    """

    paper: str
    table: str
    dataset: str
    teacher: str
    student: str
    method: str
    metric: str
    value: float | None
    std: float | None
    source: str

    @property
    def pair(self) -> str:
        """The pair in this package's names, such as `wrn_40_2/wrn_16_2`."""
        return f"{labels.network_id(self.teacher)}/{labels.network_id(self.student)}"

    @property
    def label(self) -> str:
        """The printed method name, without the transcriber's remark `(source label: ...)`."""
        return re.sub(r" \(source label: .*\)$", "", self.method)

    @property
    def name(self) -> str:
        """The method's name in suites, such as `crd+kd` or `student`."""
        return name_in_suites(self.label)

    @property
    def doubt(self) -> str:
        """Why the number may be wrong, or is not of the last epoch; usually empty."""
        doubt = _DOUBTS.get((self.table, self.label, self.value), "")
        return doubt or (BEST_EPOCH if self.is_best_epoch else "")

    @property
    def is_best_epoch(self) -> bool:
        """Whether the number is of the best epoch, according to the source or `methods.yaml`."""
        from bench.suite import canonical

        if self.paper in _LAST_EPOCH:
            return False
        method = canonical().get(self.name, {})
        return "best epoch" in self.source or bool(method.get("best_epoch"))

    @property
    def is_reprint(self) -> bool:
        """Whether another paper than the method's own prints the number."""
        return self.paper.startswith("reprint")

    @property
    def n(self) -> int | None:
        """The number of runs behind a mean ± std; None if the source does not state it."""
        runs = re.search(r"(\d+) runs", self.source) if self.std is not None else None
        return int(runs[1]) if runs else None

    @property
    def published(self) -> PublishedValue | None:
        """The number as a cell's published value; None if there is no number."""
        if self.value is None:
            return None
        paper = self.paper if self.is_reprint else self.paper.split(" (")[0]
        table = self.table.split(" (")[0]
        source = f"{paper}, {table}" if paper != "WCoRD" else "WCoRD, reprinted by ITRD"
        return PublishedValue(self.value, self.std, source, self.doubt)


@cache
def lines() -> tuple[Line, ...]:
    """Return all transcribed numbers, in the order of the files.

    Raises:
        BenchError: The folder of the transcribed files is missing.
    """
    return tuple(line for name in _FILES for line in lines_of(name))


@cache
def lines_of(name: str) -> tuple[Line, ...]:
    """Return the numbers of one file.

    Args:
        name: Name of the file, without `.csv`.

    Raises:
        BenchError: The folder of the transcribed files is missing.
    """
    return tuple(map(Line.model_validate, read_rows(folder() / f"{name}.csv")))


def folder() -> Path:
    """Return the folder of the transcribed files.

    Raises:
        BenchError: The folder is missing.
    """
    folders = (_HERE / "published", _HERE.parent / "results" / "published")
    existing = next((path for path in folders if path.is_dir()), None)
    if existing is None:
        raise BenchError("results/published: the papers' transcribed tables are missing")
    return existing


def name_in_suites(printed: str) -> str:
    """Return a method's name in suites, such as `crd+kd`, from its printed name."""
    return _NAMES.get(printed.lower(), printed.lower())


def published_lines(data: DataSpec) -> dict[tuple[str, str], Line]:
    """Return published last-epoch accuracies by (pair, method).

    The result is empty for data sets other than the full CIFAR-100. If several sources print a
    number, the first of these sources is used:
    1. CRD's Tables 1, 2 and 7 (combinations with KD);
    2. WCoRD's tables;
    3. the current README of DCD's authors, which also has numbers of RRD;
    4. the tables of later methods' own papers;
    5. reprints of such tables in other papers.
    """
    if data.name not in _DATA or data_deviation(data):
        return {}
    first: dict[tuple[str, str], Line] = {}
    for line in sorted(lines(), key=lambda line: line.is_reprint):
        if line.dataset == _DATA[data.name] and _is_main(line) and line.value is not None:
            first.setdefault((line.pair, line.name), line)
    return first


def published_values(data: DataSpec) -> dict[tuple[str, str], PublishedValue]:
    """Return the numbers of `published_lines` as cells' published values, by (pair, method)."""
    return {key: line.published for key, line in published_lines(data).items() if line.published}


def tables(pairs: Collection[str] | None = None) -> list[Table]:
    """Return tables of published numbers in the layout of CRD's Tables 1 and 2.

    CRD's rows come first, then WCoRD+KD, DCD and DCD+KD.

    Args:
        pairs: Names of the pairs to show; None: all 13.
    """
    layouts = []
    for number in _STYLES:
        main = [line for line in lines() if line.paper == "CRD" and line.table == number]
        names = dict.fromkeys(line.pair for line in main)
        if chosen := [name for name in names if pairs is None or name in pairs]:
            layouts.append(_table(number, chosen))
    return layouts


def _table(number: str, pairs: Sequence[str]) -> Table:
    (style, spread), metric = _STYLES[number], labels.METRICS["top1"]
    line_of = {
        (line.label, line.pair): line
        for line in lines()
        if line.pair in pairs
        and ((line.paper == "CRD" and line.table == number) or _is_later(line))
    }
    teachers = [line_of["Teacher", pair] for pair in pairs]
    columns = [Column(line.pair, line.teacher, line.student) for line in teachers]
    methods = dict.fromkeys(method for method, _ in line_of)
    rows = [_row(method, pairs, line_of) for method in methods]
    rows = by_mean([r for r in rows if any(c.shown for c in r.cells)], metric, _REFERENCE)
    details = (
        "LCKT, GCKT and WCoRD without KD were not found in a readable source",
        "an empty cell is empty in its paper",
    )
    caption = published_caption(
        f"as published, not run here: CRD (arXiv:1910.10699), {number}; {spread}",
        "top-1 test accuracy (%; higher is better) on CIFAR-100",
        details,
        arrows(rows, _REFERENCE),
    )
    marked_columns, marked_rows, notes = mark(columns, rows)
    title = f"Published: {style}"
    return Table(marked_rows, title, caption, metric, marked_columns, notes, _REFERENCE)


def _row(method: str, pairs: Sequence[str], line_of: Mapping[tuple[str, str], Line]) -> Row:
    name, role = method.lower(), _ROLES.get(method, "method")
    row = {pair: line_of[method, pair] for pair in pairs if (method, pair) in line_of}
    values = {pair: line.published for pair, line in row.items()}
    cells = (
        Cell(pair, name, method, role, published=values.get(pair), only_published=True)
        for pair in pairs
    )
    return Row(tuple(cells), name, method, role, _NOTES.get(next(iter(row.values())).paper, ""))


def _is_main(line: Line) -> bool:
    """Whether the line is from a table of accuracies by pair and method."""
    crd = line.paper == "CRD" and line.table in ("Table 1", "Table 2", "Table 7")
    is_table = crd or _is_later(line) or line.table == _CURRENT or line.paper in _modern()
    return is_table and line.metric == "top1_acc"


@cache
def _modern() -> frozenset[str]:
    """Return the values of the column `paper` in the file of the modern methods."""
    return frozenset(line.paper for line in lines_of("modern"))


def _is_later(line: Line) -> bool:
    """Whether the line is from WCoRD's main tables, or from the current version of DCD."""
    wcord = line.paper == "WCoRD" and line.table.endswith("-arch table")
    return wcord or (line.paper == "DCD" and line.table == _CURRENT)


def read_rows(path: Path, numbers: Collection[str] = ("value", "std")) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of published numbers.

    Args:
        path: The CSV file.
        numbers: Names of the columns of numbers; an empty number becomes None.
    """
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row | {key: row[key] or None for key in numbers}
