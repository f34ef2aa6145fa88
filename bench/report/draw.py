"""A suite's figures: its plan and its records as files, kind by kind, or why there are none."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, unknown
from bench.planning.plan import Plan
from bench.report import ablation, build, cost, curves, diagrams, figures, wording
from bench.report.cells import Entry
from bench.report.statistics import statistics
from bench.report.table import table
from bench.results import Results
from bench.suite import canonical

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure and its files; `told` are the numbers that it shows, a line each."""

    kind: str
    files: tuple[Path, ...]
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Undrawn:
    """Why there is no figure of a kind, of a pair or, where `pair` is empty, of all."""

    kind: str
    pair: str
    reason: str


@dataclass(frozen=True)
class _Subject:
    """What figures are made of."""

    plan: Plan
    results: Results
    entries: Sequence[Entry]
    metric: str
    root: Path | None


Sheet = tuple[str, "Figure", tuple[str, ...]]  # what its file's name ends with; numbers in it


def draw(
    whole: Plan,
    results: Results,
    metric: str = "top1",
    kinds: Sequence[str] = (),
    root: Path | None = None,
) -> Iterator[Drawn | Undrawn]:
    """Write the figures of a suite into its results folder, one after the other.

    kinds: of `KINDS`, or none for all; root: where data sets lie. Files are called
    <suite>-<kind>-<pair>, and <suite>-<metric>-<kind>-<pair> if they show another metric than
    top1. Raises BenchError for an unknown kind or metric, and where there is no record at all.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise BenchError(unknown("kind of figure", kind, KINDS))
    wording.metric(metric)
    of = _Subject(whole, results, tuple(build.entries(whole, results, curves=True)), metric, root)
    if not any(entry.record for entry in of.entries):
        said = f"no record of any of the {len(whole.runs)} runs asked for; `bench run` makes them"
        raise BenchError(f"{results.folder}: {said}")
    name = whole.stem
    for kind in dict.fromkeys(kinds or KINDS):
        prefix = name if metric == "top1" or kind == "correlation" else f"{name}-{metric}"
        pairs = dict.fromkeys(cell.pair.name for cell in whole.cells)
        for pair in pairs if kind != "ranks" else [""]:
            try:
                for end, figure, told in KINDS[kind](of, pair):
                    stem = "-".join(filter(None, (prefix, kind, pair and file_name(pair), end)))
                    yield Drawn(kind, tuple(figures.save(figure, results.folder, stem)), told)
            except BenchError as error:
                yield Undrawn(kind, pair, str(error))


def file_name(pair: str) -> str:
    """A pair as a part of a file's name that any file system takes: `wrn_40_2-wrn_16_2`.

    Where it holds more than small letters, digits, `_` and `.`, or is long, it ends with a hash:
    no two pairs have one name.
    """
    plain = pair.replace("/", "-", 1)
    if re.fullmatch(r"[a-z0-9_.]+-[a-z0-9_.]+", plain) and len(plain) <= 80:
        return plain
    short = re.sub(r"[^A-Za-z0-9_.]+", "-", plain)[:80]
    return f"{short}-{hashlib.sha256(pair.encode()).hexdigest()[:8]}"


def _curves(of: _Subject, pair: str) -> Iterator[Sheet]:
    yield "", curves.learning_curves(of.entries, pair, of.metric), ()


def _cost(of: _Subject, pair: str) -> Iterator[Sheet]:
    yield "", cost.cost(of.entries, pair, of.metric), ()


def _ablation(of: _Subject, pair: str) -> Iterator[Sheet]:
    """One for each setting in which methods differ."""
    labels = {name: str(method["label"]) for name, method in canonical().items()}
    options = ablation.varied(of.entries, pair, of.metric)
    if not options:
        raise BenchError("no two methods with a result differ in a single number")
    for option in options:
        figure = ablation.ablation(of.entries, pair, option, of.metric, labels)
        yield "-".join(option), figure, ()


def _ranks(of: _Subject, pair: str) -> Iterator[Sheet]:
    """Over all pairs, of the methods that have a value for each of them."""
    made = table(of.entries, build.about(of.plan), of.metric)
    found = statistics(made).overall
    if found.ranks is None:
        raise BenchError(found.lacking[0])
    labels = figures.distinct({row.name: row.label for row in found.methods})
    yield "", diagrams.rank_diagram([*labels.values()], found.ranks, made.metric.short), ()


def _correlation(of: _Subject, pair: str) -> Iterator[Sheet]:
    from bench.report import correlation

    found = correlation.differences(
        of.entries, of.results, pair, of.root, registry=of.plan.suite.registry
    )
    if not found:
        raise BenchError(
            f"no student's weights in {of.results.folder / 'weights'}; `bench run` keeps them, "
            "and with `--overwrite always` makes them anew"
        )
    said = figures.title(of.entries, pair, map(len, found.values()), ", the first is drawn")
    told = tuple(f"{label}: {diagrams.amount(some)}" for label, some in found.items())
    yield "", diagrams.correlations(found, said), told


KINDS: dict[str, Callable[[_Subject, str], Iterator[Sheet]]] = {
    "curves": _curves,
    "cost": _cost,
    "ablation": _ablation,
    "ranks": _ranks,
    "correlation": _correlation,  # the only one that runs networks: last
}
