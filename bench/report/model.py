"""The model of results: cells of runs, and the tables assembled from them.

An `Entry` is one run. A `Cell` is one method on one pair: every metric by seed, why values are
missing, and how it compares. A `Table` shows one metric of the cells of a suite.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from bench.report.labels import METRICS, Metric, join
from bench.results.record import Record
from bench.spec import DataSpec, Recipe
from bench.stats.comparison import ALPHA, Comparison, Ranks
from bench.stats.estimates import interval

Role = Literal["teacher", "student", "method"]
Rank = Literal["best", "second"]

MAX_VALUE = 1e12  # no run measures more, and sums of its powers remain finite
_SEVERITY = ("missing", "skipped", "diverged", "failed")
_NOT_SETTING = ("seed", "method", "teacher")


def _seed(key: object) -> object:
    return int(key) if isinstance(key, str) and re.fullmatch("0|-?[1-9][0-9]{0,9}", key) else key


Number = Annotated[float, Field(ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)]
Seed = Annotated[int, BeforeValidator(_seed)]


class Part:
    """A part of a table, validated strictly when it is read from JSON."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Entry:
    """One run that a table asks for, and its record.

    A teacher's entries may repeat for each seed of its students: the same record counts once.

    Attributes:
        pair: Name of the pair.
        teacher: Name of the teacher's network.
        student: Name of the student's network.
        method: Name of the method.
        seed: Seed of the student.
        record: The run's record; None: not run yet.
        label: The method's name in tables; empty: its name.
        note: A deviation of the method, for a footnote.
        role: `student` is the plain student, without a distiller that uses the teacher.
        group: Group of the pair: each has a table of its own.
        distillers: Distillers of the method that use the teacher.
    """

    pair: str
    teacher: str
    student: str
    method: str
    seed: int
    record: Record | None
    label: str = ""
    note: str = ""
    role: Role = "method"
    group: str = ""
    distillers: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the run has a result."""
        return self.record is not None and self.record.status == "done"


@dataclass(frozen=True)
class Measured(Part):
    """Mean, standard deviation and interval of a metric over runs.

    Attributes:
        mean: Mean over the runs.
        std: Standard deviation (n - 1); None for a single run.
        n: Number of runs.
        values: Values by seed; empty where only the summary is known.
        low: Lower end of the 95 % interval of the mean; None for a single run.
        high: Upper end.
    """

    mean: Number
    std: Annotated[Number, Field(ge=0)] | None
    n: Annotated[int, Field(ge=1, le=1_000_000)]
    values: Mapping[Seed, Number] = field(default_factory=dict)
    low: float | None = field(default=None, compare=False)
    high: float | None = field(default=None, compare=False)

    @classmethod
    def of(cls, values: Mapping[int, float]) -> "Measured":
        """Return the summary of at least one value, by seed."""
        numbers = list(values.values())
        std = stdev(numbers) if len(numbers) > 1 else None
        return cls(fmean(numbers), std, len(numbers), values, *(interval(numbers) or (None, None)))


@dataclass(frozen=True)
class PublishedValue(Part):
    """A mean that a paper prints, perhaps with a standard deviation.

    Attributes:
        source: `CRD, Table 1`.
        doubt: Why the number is doubtful; empty for most.
        mark: Mark of the footnote with the doubt.
    """

    mean: float
    std: float | None
    source: str
    doubt: str = ""
    mark: str = ""


@dataclass(frozen=True)
class MissingValue(Part):
    """Why values are missing.

    Attributes:
        status: missing, skipped, diverged or failed.
        reason: A phrase: `diverged at epoch 12`.
    """

    status: str
    reason: str


@dataclass(frozen=True)
class Cell(Part):
    """One method on one pair: its runs, and the metric that a table shows.

    Attributes:
        pair: Name of the pair.
        method: Name of the method.
        label: The method's name in tables.
        role: Teacher, plain student or method.
        metrics: All metrics that every finished run has.
        setting: Data, networks and recipes of the runs, without a seed.
        terms: Distillers of the method, their weights and options.
        teachers: SHA-256 of the weights of the runs' teachers.
        runs: Ids of the records.
        measured: The table's metric; None: no value.
        published: Published value of the cell.
        missing: Why some or all seeds have no value.
        mark: Mark of the footnote with that reason.
        rank: Whether it is the best or second of its column.
        versus: Whether its mean is better or worse than that of the reference method.
        comparison: The statistical comparison with the reference; None: not tested.
        only_published: Whether the cell shows a published value because nothing was run.
    """

    pair: str = ""
    method: str = ""
    label: str = ""
    role: Role = "method"
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    setting: Mapping[str, Any] = field(default_factory=dict)
    terms: Mapping[str, Any] = field(default_factory=dict)
    teachers: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    measured: Measured | None = None
    published: PublishedValue | None = None
    missing: MissingValue | None = None
    mark: str = ""
    rank: Rank | None = None
    versus: Literal["better", "worse"] | None = None
    comparison: Comparison | None = None
    only_published: bool = False

    @property
    def name(self) -> str:
        """`resnet8x4/resnet8 crd+kd`."""
        return f"{self.pair} {self.method}"

    @property
    def published_name(self) -> str:
        """The papers' name of the method: that of the plain student is `student`."""
        return self.method if self.role == "method" else self.role

    @property
    def shown(self) -> Measured | PublishedValue | None:
        """The value that the table shows."""
        return self.published if self.only_published else self.measured

    @property
    def rankable(self) -> Measured | PublishedValue | None:
        """The value for ranks and comparisons: none where seeds are missing."""
        return None if self.missing else self.shown

    @property
    def gap(self) -> float | None:
        """The mean minus the published one."""
        if self.measured is None or self.published is None:
            return None
        return self.measured.mean - self.published.mean

    @property
    def significant(self) -> bool | None:
        """Whether the difference from the reference is significant; None: not tested."""
        p = self.comparison.p if self.comparison else None
        return None if p is None else p < ALPHA

    @property
    def status(self) -> str:
        """`done`, `partial`, the status of its missing runs, or `empty`."""
        if self.missing is None:
            return "done" if self.shown else "empty"
        return "partial" if self.measured else self.missing.status


@dataclass(frozen=True)
class Column(Part):
    """A teacher-student pair; teacher and student as the papers print them."""

    pair: str
    teacher: str
    student: str
    note: str = ""  # how its runs differ from those of the papers
    mark: str = ""  # of the note

    @property
    def name(self) -> str:
        """`WRN-40-2 → WRN-16-2`."""
        return f"{self.teacher} → {self.student}"


@dataclass(frozen=True)
class Row(Part):
    """A line of the table: one cell for each column."""

    cells: tuple[Cell, ...]
    name: str = ""
    label: str = ""
    role: Role = "method"
    note: str = ""
    mark: str = ""  # of the note
    n: int = 0  # the number of runs that the caption states


@dataclass(frozen=True)
class Note(Part):
    """A footnote: the meaning of a mark."""

    mark: str
    text: str


@dataclass(frozen=True)
class TableContext:
    """What a table states about a suite beyond its records.

    Attributes:
        title: Title of the suite.
        caption: The suite's own caption.
        data: The data set; None: not stated.
        recipes: Recipe of the student, by pair.
        reference: Method that the others are compared with.
        tolerance: Largest difference that is treated as zero; None: the metric's default.
    """

    title: str
    caption: str = ""
    data: DataSpec | None = None
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    reference: str = "kd"
    tolerance: float | None = None


@dataclass(frozen=True)
class Overall(Part):
    """The methods over all pairs of a table.

    Attributes:
        pairs: Number of pairs.
        methods: Names of the methods with a value for every pair and seed.
        incomplete: Names of the others.
        ranks: Average ranks of `methods`, in their order.
        improvements: Relative improvements of `methods`; None for the reference itself.
        obstacles: Why there are no ranks, or no improvements.
    """

    pairs: int
    methods: tuple[str, ...]
    incomplete: tuple[str, ...]
    ranks: Ranks | None
    improvements: tuple[float | None, ...] | None
    obstacles: tuple[str, ...]


@dataclass(frozen=True)
class Table(Part):
    """One metric of a suite, ready to be written; no text is escaped yet.

    Attributes:
        reference: Name of the row that the others are compared with.
        tolerance: Largest difference that is treated as zero, in the unit of the metric.
        overall: The methods over all pairs; None: not computed.
    """

    rows: tuple[Row, ...]
    title: str = ""
    caption: str = ""
    metric: Metric = METRICS["top1"]
    columns: tuple[Column, ...] = ()
    notes: tuple[Note, ...] = ()
    reference: str = ""
    tolerance: float = 0.0
    overall: Overall | None = None

    @property
    def baseline(self) -> Row | None:
        """The row that the others are compared with."""
        return named(self.rows, self.reference)

    @property
    def cells(self) -> Iterator[Cell]:
        """All cells, row by row."""
        return (cell for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class Report(Part):
    """The tables of a suite: what `json` holds, and therefore a baseline.

    Attributes:
        suite: Name of the suite.
        environment: Versions, device and commit of the records.
        finished: When the last run finished, ISO 8601.
        tables: A table for each group of pairs.
        format: Version of the JSON.
    """

    suite: str
    environment: Mapping[str, str] = field(default_factory=dict)
    finished: str | None = None
    tables: tuple[Table, ...] = ()
    format: Literal[2] = 2

    @classmethod
    def of(cls, suite: str, tables: Iterable[Table], entries: Iterable[Entry]) -> "Report":
        """Return the report of a suite's runs."""
        records = [entry.record for entry in entries if entry.record]
        finished = max((record.finished or "" for record in records), default="")
        return cls(suite, environment(records), finished or None, tuple(tables))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The students and methods of the suite on every pair."""
        cells = (cell for table in self.tables for cell in table.cells)
        return tuple(c for c in cells if c.role != "teacher" and c.missing != NOT_IN_SUITE)

    @property
    def title(self) -> str:
        """`the baseline of quickstart (commit 61fcf1e, 2026-11-21)`."""
        commit = self.environment.get("commit", "")
        short = commit[:7] + ("+" if commit.endswith("+") else "")
        parts = [f"commit {short}" if commit else "", (self.finished or "")[:10]]
        details = ", ".join(filter(None, parts))
        return f"the baseline of {self.suite}" + (f" ({details})" if details else "")

    @property
    def problems(self) -> tuple[str, ...]:
        """The cells without a result that are not impossible: a baseline must have none."""
        return tuple(
            f"{cell.name}: {cell.missing.reason}"
            for cell in self.cells
            if cell.missing and (cell.missing.status != "skipped" or cell.metrics)
        )


NOT_IN_SUITE = MissingValue("missing", "missing: not part of this suite")


def named(rows: Iterable[Row], name: str) -> Row | None:
    """Return the plain student or method of that name, or None."""
    return next((row for row in rows if row.role != "teacher" and row.name == name), None)


def measured_metrics(record: Record) -> dict[str, float]:
    """Return the metrics of a record; `oracle` is the best top-1 of any epoch."""
    numbers = dict(record.metrics.get("last", {}))
    numbers["oracle"] = record.metrics.get("oracle", {}).get("top1")
    return {k: float(v) for k, v in numbers.items() if v is not None and abs(v) <= MAX_VALUE}


def cell(entries: Sequence[Entry], metric: str, teacher: Record | None = None) -> Cell:
    """Return the cell of all entries of one method and pair, in any order.

    Args:
        entries: Its runs, one a seed.
        metric: The metric that the table shows.
        teacher: Record of the first entry's teacher.
    """
    entries = sorted(entries, key=lambda entry: entry.seed)
    records = [entry.record for entry in entries if entry.record]
    done = {record.id: record for record in records if record.status == "done"}
    by_metric: dict[str, dict[int, float]] = {}
    for record in done.values():
        for name, value in measured_metrics(record).items():
            by_metric.setdefault(name, {})[record.seed] = value
    shown = by_metric.get(metric)
    missing = {entry.seed: reason for entry in entries if (reason := _missing(entry, metric))}
    setting, terms = settings((*done.values(), *records)[0], teacher) if records else ({}, {})
    first = entries[0]
    return Cell(
        first.pair,
        first.method,
        first.label or first.method,
        first.role,
        {name: Measured.of(v) for name, v in by_metric.items() if len(v) == len(done)},
        setting,
        terms,
        tuple(sorted({record.teacher.sha256 for record in done.values() if record.teacher})),
        tuple(dict.fromkeys(record.id for record in records)),
        measured=Measured.of(shown) if shown else None,
        missing=_merged(missing, partial=bool(shown)) if missing else None,
    )


def cells(entries: Iterable[Entry], metric: str = "top1") -> dict[tuple[Role, str, str], Cell]:
    """Return the cells of all entries by role, method and pair, in the order of the entries."""
    teachers: dict[tuple[str, int], Record | None] = {}
    groups: dict[tuple[Role, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.role == "teacher":
            teachers[entry.pair, entry.seed] = entry.record
        groups.setdefault((entry.role, entry.method, entry.pair), []).append(entry)
    return {
        key: cell(group, metric, teachers.get((key[2], group[0].seed)))
        for key, group in groups.items()
    }


def settings(record: Record, teacher: Record | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the setting of a run without its seed, and the terms of its method.

    The teacher is included by its specification, not by the id of its run, which has a seed.
    """
    content = record.specification.content
    setting = {key: value for key, value in content.items() if key not in _NOT_SETTING}
    if teacher and record.specification.role == "student":
        theirs = teacher.specification.content
        setting["teacher"] = {k: v for k, v in theirs.items() if k not in ("seed", "data")}
    return setting, content.get("method", {})


def environment(records: Iterable[Record]) -> dict[str, str]:
    """Return the environments of finished records: each key with all of its values."""
    values: dict[str, set[str]] = {}
    for record in records:
        for key, value in record.environment.items() if record.status == "done" else ():
            if value is not None:
                values.setdefault(key, set()).add(str(value))
    return {key: join(sorted(each)) for key, each in values.items()}


def _missing(entry: Entry, metric: str) -> MissingValue | None:
    """Return why a run has no value of a metric."""
    record = entry.record
    if record is None:
        return MissingValue("missing", "missing: not run yet")
    if record.status != "done":
        return MissingValue(record.status, _reason(record.status, record.reason or ""))
    if metric not in measured_metrics(record):
        return MissingValue("missing", f"missing: the record has no {metric}")
    return None


def _reason(status: str, text: str) -> str:
    """Return a record's reason on one line, after its status; of a traceback, the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = lines[-1] if lines and lines[0].startswith("Traceback") else " ".join(lines)
    return reason if reason.startswith(status) else ": ".join(filter(None, (status, reason)))


def _merged(missing: Mapping[int, MissingValue], *, partial: bool) -> MissingValue:
    """Return one reason for several seeds: the most severe status, each reason with its seeds."""
    seeds: dict[MissingValue, list[str]] = {}
    for seed, reason in missing.items():
        seeds.setdefault(reason, []).append(str(seed))
    if len(seeds) == 1 and not partial:
        return next(iter(seeds))
    worst = max(seeds, key=lambda each: (*_SEVERITY, each.status).index(each.status))
    phrases = (
        f"{'seed' if len(names) == 1 else 'seeds'} {join(names)} {each.reason}"
        for each, names in seeds.items()
    )
    return MissingValue(worst.status, "; ".join(phrases))
