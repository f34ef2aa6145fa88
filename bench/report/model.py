"""The data model of tables: runs are grouped into cells, and cells into tables.

An `Entry` is one run. A pair is a teacher network and a student network. A `Cell` holds all runs of
one method on one pair: every metric by seed, the reasons for missing values, and the comparison
with a reference method. A `Table` shows one metric of the cells of a suite (a file of experiments).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer

from bench.report import labels
from bench.report.labels import METRICS, Caption, Metric, join, measure_of
from bench.results.measured import MAX_VALUE, measured_metrics, number
from bench.results.record import Record
from bench.spec import DataSpec, Recipe
from bench.stats.comparison import ALPHA, Comparison, Ranks
from bench.stats.estimates import interval
from bench.stats.sequential import SeedLooks

Role = Literal["teacher", "student", "control", "method"]
ROLES: tuple[Role, ...] = get_args(Role)  # in the order of a table's rows
Rank = Literal["best", "second"]

_SEVERITY = ("missing", "skipped", "diverged", "failed")


def _seed(key: object) -> object:
    return int(key) if isinstance(key, str) and re.fullmatch("0|-?[1-9][0-9]{0,9}", key) else key


Number = Annotated[float, Field(ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)]
Seed = Annotated[int, BeforeValidator(_seed)]
_CAPTION = BeforeValidator(lambda text: {"metric": text})  # of a table that is read from JSON


class Part:
    """Base class for all parts of a report, which are validated strictly when read from JSON."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Entry:
    """One run that a table needs, and its record.

    A teacher has one entry for each run of its students. Entries with the same record count as one
    run.

    Attributes:
        pair: Name of the pair.
        teacher: Name of the teacher's network.
        student: Name of the student's network.
        method: Name of the method.
        seed: Seed of the student's run, also in an entry of its teacher.
        record: The run's record; None: not run yet.
        label: The method's name in tables; empty: tables print `method`.
        note: Text of the method's footnote, such as its difference from the paper.
        role: `teacher`, `student` (a plain student, trained without the teacher), `control` (a row
            of `controls: true`) or `method`.
        group: Group of the pair. Each group has its own table.
        distillers: Names of the method's distillers (its loss terms) that use the teacher.
        unmeasured: Why measures of the run's network have no result, by the measure's name.
        differs: Whether another machine's record of the run has other numbers.
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
    unmeasured: "Mapping[str, MissingValue]" = field(default_factory=dict)
    differs: bool = False

    @property
    def finished(self) -> bool:
        """Whether the run ended with a result (status `done`)."""
        return self.record is not None and self.record.status == "done"


@dataclass(frozen=True)
class Measured(Part):
    """Mean, standard deviation and confidence interval of a metric over the runs of a cell.

    Attributes:
        mean: Mean over the runs.
        std: Standard deviation (n - 1); None for a single run.
        n: Number of runs.
        values: Values by seed; empty if only the summary is known.
        low: Lower end of the 95 % confidence interval of the mean; None for a single run.
        high: Upper end of that interval.
    """

    mean: Number
    std: Annotated[Number, Field(ge=0)] | None
    n: Annotated[int, Field(ge=1, le=1_000_000)]
    values: Mapping[Seed, Number] = field(default_factory=dict)
    low: float | None = field(default=None, compare=False)
    high: float | None = field(default=None, compare=False)

    @classmethod
    def of(cls, values: Mapping[int, float]) -> "Measured":
        """Summarize a metric, given by seed, over at least one run."""
        numbers = list(values.values())
        std = stdev(numbers) if len(numbers) > 1 else None
        return cls(fmean(numbers), std, len(numbers), values, *(interval(numbers) or (None, None)))


@dataclass(frozen=True)
class PublishedValue(Part):
    """A mean that a paper prints, perhaps with a standard deviation.

    Attributes:
        mean: The mean as printed.
        std: The standard deviation; None: the paper prints none.
        source: Paper and table, such as `CRD, Table 1`.
        doubt: Why the number may be wrong; usually empty.
        mark: Mark of the footnote that states `doubt`.
    """

    mean: float
    std: float | None
    source: str
    doubt: str = ""
    mark: str = ""


@dataclass(frozen=True)
class MissingValue(Part):
    """The reason for missing values.

    Attributes:
        status: `missing` (not run, or the record has no such metric), `skipped`, `diverged` or
            `failed`.
        reason: The reason as a phrase, such as `diverged at epoch 12`.
    """

    status: str
    reason: str


@dataclass(frozen=True)
class Cell(Part):
    """The runs of one method on one pair, and the metric that a table shows.

    Attributes:
        pair: Name of the pair.
        method: Name of the method.
        label: The method's name in tables.
        role: `teacher`, `student` (a plain student, trained without the teacher), `control` (a row
            of `controls: true`) or `method`.
        metrics: Each metric that all finished runs have, by the metric's name.
        setting: Data, networks and recipes of the runs, without the seed.
        terms: Weight and options of each distiller (loss term) of the method, by its name.
        teachers: SHA-256 digests of the weights of the runs' teachers.
        runs: Ids of the records.
        measured: The metric that the table shows; None: no run has a value.
        published: The value that a paper prints for this cell; None: not known.
        missing: Why some or all seeds have no value; None: all seeds have one.
        mark: Mark of the footnote that states `missing`.
        rank: `best` or `second` in its column; None: neither, or not ranked.
        versus: Whether the mean is better or worse than the reference method's; None: both
            print the same number, or are not compared.
        comparison: The statistical comparison with the reference method; None: not tested.
        only_published: Whether the cell shows `published` instead of `measured`.
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
        """Pair and method, such as `resnet8x4/resnet8 crd+kd`."""
        return f"{self.pair} {self.method}"

    @property
    def published_name(self) -> str:
        """The method's name in the papers' tables, which call a plain student `student`."""
        return self.role if self.role in ("teacher", "student") else self.method

    @property
    def shown(self) -> Measured | PublishedValue | None:
        """The value that the table shows; None: no value."""
        return self.published if self.only_published else self.measured

    @property
    def rankable(self) -> Measured | PublishedValue | None:
        """The value for ranks and comparisons; None if any seed is missing."""
        return None if self.missing else self.shown

    @property
    def gap(self) -> float | None:
        """The measured mean minus the published mean; None if either is missing."""
        if self.measured is None or self.published is None:
            return None
        return self.measured.mean - self.published.mean

    @property
    def significant(self) -> bool | None:
        """Whether the difference from the reference method is significant; None: not tested."""
        p = self.comparison.p if self.comparison else None
        return None if p is None else p < ALPHA

    @property
    def status(self) -> str:
        """`done`, `partial` (some seeds missing), `empty`, or the status of `missing`."""
        if self.missing is None:
            return "done" if self.shown else "empty"
        return "partial" if self.measured else self.missing.status


@dataclass(frozen=True)
class Column(Part):
    """A column of a table: a pair, with the names of its networks as the papers print them."""

    pair: str
    teacher: str
    student: str
    note: str = ""  # how the pair's runs differ from the papers' runs
    mark: str = ""  # mark of the footnote with the note

    @classmethod
    def of(cls, pair: str, teacher: str, student: str, note: str = "") -> "Column":
        """Return the column of a pair; a name other than `teacher/student` is shown."""
        own_name = f" ({pair})" if pair != f"{teacher}/{student}" else ""
        return cls(pair, labels.network(teacher), f"{labels.network(student)}{own_name}", note)

    @property
    def name(self) -> str:
        """The column's title, such as `WRN-40-2 → WRN-16-2`."""
        return f"{self.teacher} → {self.student}"


@dataclass(frozen=True)
class Row(Part):
    """A row of a table: one method, with one cell for each column."""

    cells: tuple[Cell, ...]
    name: str = ""
    label: str = ""
    role: Role = "method"
    note: str = ""
    mark: str = ""  # mark of the footnote with the note
    n: int = 0  # runs per cell that the caption states; a cell with another number shows it


@dataclass(frozen=True)
class Note(Part):
    """A footnote: its mark and its text."""

    mark: str
    text: str


@dataclass(frozen=True)
class TableContext:
    """Facts about a suite that a table states but records do not contain.

    Attributes:
        title: Title of the suite.
        caption: Text at the beginning of each table's caption.
        data: The data set; None: not stated.
        recipes: Training recipe of the student, by name of the pair.
        reference: Name of the method with which all others are compared.
        tolerance: Largest difference that counts as zero, in the metric's unit; None: the metric's
            default.
        protocols: How the suite's measures are made, by the measure's name.
        looks: The looks that decided about the seeds; None: the suite lists its seeds.
    """

    title: str
    caption: str = ""
    data: DataSpec | None = None
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    reference: str = "kd"
    tolerance: float | None = None
    protocols: Mapping[str, str] = field(default_factory=dict)
    looks: SeedLooks | None = None


@dataclass(frozen=True)
class Overall(Part):
    """Results of the methods over all pairs of a table.

    Attributes:
        pairs: Number of pairs.
        methods: Names of the methods with a value for every pair and seed.
        incomplete: Names of the methods with a missing value.
        ranks: Average ranks of `methods`, in the same order; None: not available.
        improvements: For each of `methods`, (method - reference) / (reference - plain student),
            averaged over the pairs; None for the reference itself.
        obstacles: Reasons why `ranks` or `improvements` are not available.
    """

    pairs: int
    methods: tuple[str, ...]
    incomplete: tuple[str, ...]
    ranks: Ranks | None
    improvements: tuple[float | None, ...] | None
    obstacles: tuple[str, ...]


@dataclass(frozen=True)
class Table(Part):
    """A table of one metric of a suite. Its texts are not yet escaped for an output format.

    Attributes:
        reference: Name of the reference method, with which all others are compared.
        tolerance: Largest difference that counts as zero, in the metric's unit.
        overall: Results of the methods over all pairs; None: not computed.
    """

    rows: tuple[Row, ...]
    title: str = ""
    caption: Annotated[Caption, PlainSerializer(str), _CAPTION] = Caption()
    metric: Metric = METRICS["top1"]
    columns: tuple[Column, ...] = ()
    notes: tuple[Note, ...] = ()
    reference: str = ""
    tolerance: float = 0.0
    overall: Overall | None = None

    @property
    def baseline(self) -> Row | None:
        """The row of the reference method; None: the table has no such row."""
        return named(self.rows, self.reference)

    @property
    def cells(self) -> Iterator[Cell]:
        """All cells, row by row."""
        return (cell for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class Report(Part):
    """The tables of a suite. Its JSON file can serve as the baseline of a regression check.

    Attributes:
        suite: Name of the suite.
        environment: Software versions, device and commit of the finished runs.
        finished: Time at which the last run finished, in ISO 8601; None: not known.
        tables: A table for each group of pairs.
        format: Version of the JSON format.
    """

    suite: str
    environment: Mapping[str, str] = field(default_factory=dict)
    finished: str | None = None
    tables: tuple[Table, ...] = ()
    format: Literal[2] = 2

    @classmethod
    def of(cls, suite: str, tables: Iterable[Table], entries: Iterable[Entry]) -> "Report":
        """Return the report of a suite, made from its tables and the entries of its runs."""
        records = [entry.record for entry in entries if entry.record]
        finished = max((record.finished or "" for record in records), default="")
        return cls(suite, environment(records), finished or None, tuple(tables))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all plain students and methods that are part of the suite."""
        cells = (cell for table in self.tables for cell in table.cells)
        return tuple(c for c in cells if c.role != "teacher" and c.missing != NOT_IN_SUITE)

    @property
    def title(self) -> str:
        """Name in messages, such as `the baseline of quickstart (commit 61fcf1e, 2026-11-21)`."""
        commit = self.environment.get("commit", "")
        short = commit[:7] + ("+" if commit.endswith("+") else "")
        parts = [f"commit {short}" if commit else "", (self.finished or "")[:10]]
        details = ", ".join(filter(None, parts))
        return f"the baseline of {self.suite}" + (f" ({details})" if details else "")

    @property
    def problems(self) -> tuple[str, ...]:
        """The cells with missing values, and why; a baseline must have no such cell.

        Cells without any metric are allowed if their runs were skipped as impossible.
        """
        return tuple(
            f"{cell.name}: {cell.missing.reason}"
            for cell in self.cells
            if cell.missing and (cell.missing.status != "skipped" or cell.metrics)
        )


NOT_IN_SUITE = MissingValue("missing", "missing: not part of this suite")


def named(rows: Iterable[Row], name: str) -> Row | None:
    """Return the row of the plain student or method with this name, or None."""
    return next((row for row in rows if row.role != "teacher" and row.name == name), None)


def cell(entries: Sequence[Entry], metric: str, teacher: Record | None = None) -> Cell:
    """Return the cell of one method on one pair.

    Args:
        entries: All runs of the method on the pair, in any order.
        metric: Name of the metric that the table shows.
        teacher: Record of the first entry's teacher; None: not known.
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
    """Return a cell for each (role, method, pair), in the order of the entries."""
    teachers: dict[tuple[str, int], Record | None] = {}
    groups: dict[tuple[Role, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.role == "teacher":
            teachers[entry.pair, entry.seed] = entry.record
        groups.setdefault((entry.role, entry.method, entry.pair), []).append(entry)
    return {
        key: cell(group, metric, teachers.get((key[2], group[0].seed)))
        if key[0] != "control"  # which may have another teacher
        else cell(group, metric)
        for key, group in groups.items()
    }


def settings(record: Record, teacher: Record | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the setting of a run without its seed, and the loss terms of its method.

    A student's setting contains its teacher's specification. Ids of runs are left out, because they
    depend on seeds; an ensemble of teachers has its number of members instead of their ids.
    """
    content = record.specification.content
    setting = {k: v for k, v in content.items() if k not in ("seed", "method", "teacher")}
    if teacher and record.specification.role == "student":
        theirs = teacher.specification.content
        is_same = theirs.get("data") == content.get("data")
        hidden = {"seed", "teacher", "members"} | ({"data"} if is_same else set())
        setting["teacher"] = {k: v for k, v in theirs.items() if k not in hidden}
        if members := teacher.specification.members:
            setting["teacher"]["members"] = len(members)
    return setting, content.get("method", {})


def environment(records: Iterable[Record]) -> dict[str, str]:
    """Merge the environments of finished runs: each key with all its values as one text."""
    values: dict[str, set[str]] = {}
    done = [record.environment for record in records if record.status == "done"]
    for each in {id(each): each for each in done}.values():  # records of an index share them
        for key, value in each.items():
            if value is not None:
                values.setdefault(key, set()).add(str(value))
    return {key: join(sorted(each)) for key, each in values.items()}


def _missing(entry: Entry, metric: str) -> MissingValue | None:
    """Return the reason why a run has no value of a metric; None if it has a value."""
    record = entry.record
    if record is None or record.status != "done":
        return missing_run(record)
    if number(record, metric) is None:
        is_unlabelled = metric == "top1" and "agreement" in measured_metrics(record)
        hint = ", because its images have no labels; see --metric agreement"
        reason = f"missing: the record has no {metric}{hint if is_unlabelled else ''}"
        absent = MissingValue("missing", reason)
        return entry.unmeasured.get(measure_of(metric), absent)
    return None


def missing_run(record: Record | None) -> MissingValue | None:
    """Return the reason why a run has no result; None if the run has a result."""
    if record is None:
        return MissingValue("missing", "missing: not run yet")
    if record.status != "done":
        return MissingValue(record.status, _reason(record.status, record.reason or ""))
    return None


def _reason(status: str, text: str) -> str:
    """Return the status and the reason on one line; a traceback is cut to its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = lines[-1] if lines and lines[0].startswith("Traceback") else " ".join(lines)
    return reason if reason.startswith(status) else ": ".join(filter(None, (status, reason)))


def _merged(missing: Mapping[int, MissingValue], *, partial: bool) -> MissingValue:
    """Merge the reasons of several seeds: the most severe status, each reason with its seeds."""
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
