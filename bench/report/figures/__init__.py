"""Draw the figures of a suite and write them to files.

This package needs matplotlib. The files contain no dates or versions, and use the fonts that
matplotlib contains. Equal records therefore give files with equal bytes.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, unknown
from bench.planning.plan import Plan
from bench.report import ReportOptions, build
from bench.report.comparison import overall
from bench.report.figures import charts, gap, style, tuning
from bench.report.figures.forest import forest_plot
from bench.report.figures.heatmap import heat_map
from bench.report.figures.pareto import pareto_plot
from bench.report.measured import check_metric, main_metric
from bench.report.model import Entry, Table, TableContext
from bench.results import Results
from bench.suite import canonical

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure that was written.

    Attributes:
        kind: The kind of figure, a key of `KINDS`, such as `curves`.
        files: Paths of the PNG file and the PDF file.
        numbers: Lines with the main numbers of the figure, for the console; may be empty.
    """

    kind: str
    files: tuple[Path, ...]
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotDrawn:
    """A figure that was not drawn.

    Attributes:
        kind: The kind of figure, a key of `KINDS`, such as `curves`.
        pair: Name of the pair of teacher and student; empty if the figure would cover all pairs.
        reason: Why the figure was not drawn.
    """

    kind: str
    pair: str
    reason: str


@dataclass(frozen=True)
class _Subject:
    """The inputs of all figures of a suite."""

    plan: Plan
    results: Results
    entries: Sequence[Entry]
    metric: str
    root: Path | None
    width: float = style.PAGE
    reference: str | None = None

    @property
    def table(self) -> Table:
        """One table of all pairs."""
        return build.table(self.entries, self.context, self.metric)

    @property
    def context(self) -> TableContext:
        """The facts that the table states, with the reference method."""
        return build.context(self.plan, ReportOptions(reference=self.reference))


Made = tuple[str, "Figure", tuple[str, ...]]  # end of the file name; figure; `Drawn.numbers`


def draw(
    plan: Plan,
    results: Results,
    metric: str | None = None,
    kinds: Sequence[str] = (),
    root: Path | None = None,
    output: Path | None = None,
    width: float = style.PAGE,
    reference: str | None = None,
) -> Iterator[Drawn | NotDrawn]:
    """Write the figures of a suite one after the other.

    Files are named <suite>-<kind>-<pair>, or <suite>-<metric>-<kind>-<pair> for a metric other than
    the default. A figure of all pairs has no <pair> in its name.

    Args:
        plan: The plan of the suite.
        results: The results folder.
        metric: Metric of the figures; None: `bench.report.measured.main_metric`.
        kinds: Kinds of figures, keys of `KINDS`; empty: all kinds, but `gap` only if a student of
            the suite has enough teachers, `tuning` only if the suite tunes methods, and `heatmap`
            only if it has several pairs.
        root: Folder of the data sets; None: the folder in `BENCH_DATA`, or `data`.
        output: Folder for the figures; None: the results folder.
        width: Width of the figures in inches.
        reference: Name of the method with which others are compared; None: KD.

    Yields:
        The files of each figure, or the reason why a figure was not drawn.

    Raises:
        BenchError: A kind, the metric or the reference is unknown, or no run has a record.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise BenchError(unknown("kind of figure", kind, KINDS))
    check_metric(plan.suite, metric)
    entries = tuple(build.entries(plan, results, curves=True))
    if not any(entry.record for entry in entries):
        reason = f"none of the {len(plan.runs)} runs has a record; `bench run` trains them"
        raise BenchError(f"{results.folder}: {reason}")
    default = main_metric(entry.record for entry in entries)
    metric = metric or default
    for each in figures(plan, results, entries, metric, kinds, root, width, reference):
        if isinstance(each, NotDrawn):
            yield each
            continue
        no_metric = metric == default or each.kind in ("correlation", "tuning")
        stem = each.name(plan.stem if no_metric else f"{plan.stem}-{metric}")
        files = style.save_figure(each.figure, output or results.folder, stem)
        yield Drawn(each.kind, tuple(files), each.numbers)


@dataclass(frozen=True)
class SuiteFigure:
    """A figure of a suite, not yet written.

    Attributes:
        kind: The kind of figure, a key of `KINDS`, such as `curves`.
        pair: Name of the pair of teacher and student; empty for a figure of all pairs.
        end: End of the file name, if there are several figures of the kind and pair.
        figure: The figure.
        numbers: As in `Drawn`.
    """

    kind: str
    pair: str
    end: str
    figure: "Figure"
    numbers: tuple[str, ...] = ()

    def name(self, prefix: str = "") -> str:
        """Return the figure's file name without its extension."""
        parts = prefix, self.kind, self.pair and file_name(self.pair), self.end
        return "-".join(filter(None, parts))


def figures(
    plan: Plan,
    results: Results,
    entries: Sequence[Entry],
    metric: str = "top1",
    kinds: Sequence[str] = (),
    root: Path | None = None,
    width: float = style.PAGE,
    reference: str | None = None,
) -> Iterator[SuiteFigure | NotDrawn]:
    """Yield the figures of a suite; `draw` describes the arguments.

    Args:
        plan: The plan of the suite.
        results: The results folder.
        entries: The suite's runs, with learning curves.
        metric: As in `draw`.
        kinds: As in `draw`.
        root: As in `draw`.
        width: As in `draw`.
        reference: As in `draw`.
    """
    subject = _Subject(plan, results, entries, metric, root, width, reference)
    _ = subject.context  # the reference is checked before a figure is drawn
    pairs = dict.fromkeys(cell.pair.name for cell in plan.cells)
    unusual = {"gap": gap.students(entries), "tuning": plan.searches, "heatmap": len(pairs) > 1}
    usual = [kind for kind in KINDS if unusual.get(kind, True)]
    for kind in dict.fromkeys(kinds or usual):
        for pair in pairs if kind not in OVER_PAIRS else [""]:
            try:
                for end, figure, numbers in KINDS[kind](subject, pair):
                    yield SuiteFigure(kind, pair, end, figure, numbers)
            except BenchError as error:
                yield NotDrawn(kind, pair, str(error))


def file_name(pair: str) -> str:
    """Return a pair's name as part of a file name on any file system: `wrn_40_2-wrn_16_2`.

    A hash is appended if the name is long, or has characters other than lower-case letters, digits,
    `_` and `.`. Therefore two pairs, or two networks, never share a file name.
    """
    if re.fullmatch(r"[a-z0-9_.]+(/[a-z0-9_.]+)?", pair) and len(pair) <= 80:
        return pair.replace("/", "-")
    short = re.sub(r"[^A-Za-z0-9_.]+", "-", pair)[:80]
    digest = hashlib.sha256(pair.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{short}-{digest[:8]}"


def _reference_label(subject: _Subject) -> str:
    """Return the label of the reference method; empty if the suite does not use this method."""
    methods, name = subject.plan.suite.methods, subject.context.reference
    return next((method.label for method in methods if method.name == name), "")


def _ablation(subject: _Subject, pair: str) -> Iterator[Made]:
    """Yield a figure for each option that is the only difference between two methods."""
    names = {name: str(method["label"]) for name, method in canonical().items()}
    options = charts.varied(subject.entries, pair, subject.metric)
    if not options:
        raise BenchError("no two methods with results differ in exactly one number")
    for option in options:
        figure = charts.ablation(
            subject.entries, pair, option, subject.metric, names, subject.width
        )
        yield "-".join(option), figure, ()


def _forest(subject: _Subject, pair: str) -> Iterator[Made]:
    """Yield the plot of each method's difference from the reference method, for all pairs."""
    yield "", forest_plot([subject.table], subject.width), ()


def _heatmap(subject: _Subject, pair: str) -> Iterator[Made]:
    """Yield the heat map of each method's difference from the reference method on each pair."""
    yield "", heat_map(subject.table, subject.width), ()


def _ranks(subject: _Subject, pair: str) -> Iterator[Made]:
    """Yield the rank diagram of all methods that have a value for every pair."""
    table = subject.table
    result = overall(table)
    if result.ranks is None:
        raise BenchError(result.obstacles[0])
    methods = [row for row in table.rows if row.name in result.methods]
    names = style.distinct({row.name: row.label for row in methods})
    labels, metric = [*names.values()], table.metric.short
    yield "", charts.rank_diagram(labels, result.ranks, metric, subject.width), ()


def _gap(subject: _Subject, pair: str) -> Iterator[Made]:
    """Yield a figure for each student that has enough teachers."""
    students = gap.students(subject.entries)
    if not students:
        raise BenchError(f"no student of the suite has {gap.MIN_TEACHERS} teachers")
    for student in students:
        figure = gap.capacity_gap(subject.entries, student, subject.metric, subject.width)
        yield file_name(student), figure, ()


def _tuning(subject: _Subject, pair: str) -> Iterator[Made]:
    """Yield a figure for each pair that is tuned."""
    plan = subject.plan
    if not plan.searches:
        raise BenchError("the suite tunes no method")
    names = {method.name: method.label for method in plan.suite.methods}
    pairs = dict.fromkeys(each.pair for each in plan.searches)
    for name in pairs:
        searches = [each for each in plan.searches if each.pair == name]
        end = file_name(name) if len(pairs) > 1 else ""
        yield end, tuning.best_so_far(searches, names, subject.width), ()


def _correlation(subject: _Subject, pair: str) -> Iterator[Made]:
    from bench.report.figures import correlation

    suite = subject.plan.suite
    matrices = correlation.differences(
        subject.entries, subject.results, pair, subject.root,
        registry=suite.registry, selection=suite.data,
    )  # fmt: skip
    if not matrices:
        raise BenchError(
            f"no student's weights are in {subject.results.folder / 'weights'}; `bench run` saves "
            "weights, and `bench run --overwrite always` trains again to replace deleted weights"
        )
    seeds = map(len, matrices.values())
    title = style.title(subject.entries, pair, seeds, ", the first is drawn")
    numbers = tuple(f"{label}: {correlation.describe(m)}" for label, m in matrices.items())
    yield "", correlation.correlation_figure(matrices, title, subject.width), numbers


OVER_PAIRS = (
    "forest",
    "heatmap",
    "pareto",
    "ranks",
    "gap",
    "tuning",
)  # kinds with one figure for all pairs
KINDS: dict[str, Callable[[_Subject, str], Iterable[Made]]] = {
    "curves": lambda s, pair: [
        ("", charts.learning_curves(s.entries, pair, s.metric, _reference_label(s), s.width), ())
    ],
    "forest": _forest,
    "heatmap": _heatmap,
    "pareto": lambda s, pair: [("", pareto_plot(s.entries, pair, s.metric, s.width), ())],
    "ablation": _ablation,
    "ranks": _ranks,
    "gap": _gap,
    "tuning": _tuning,
    "correlation": _correlation,  # last, because it is slow: it runs networks
}
