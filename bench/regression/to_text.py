"""Verdicts for people, as plain text."""

from collections.abc import Iterable, Iterator

from tabulate import tabulate

from bench.regression.cells import Summary
from bench.regression.verdicts import Verdict, Verdicts
from bench.report.markup import line, signed
from bench.report.wording import Metric, chance, joined

QUIET = ("pass", "same", "better", "skipped")  # outcomes that need no explanation
MOST_NAMED = 3


def text(found: Verdicts) -> str:
    """The verdict on the whole, a table of all cells, the reasons, and what to know about them."""
    rows = [
        (cell.outcome, line(cell.pair), line(cell.method), *numbers(cell, found.metric))
        for cell in found.cells
    ]
    header = ["verdict", "pair", "method", *columns(found)]
    parts = [
        "\n".join(line(each) for each in heading(found)),
        tabulate(rows, header, disable_numparse=True) if rows else "no cell",
        "\n".join(line(each) for each in reasons(found)),
        "\n".join(line(each) for each in remarks(found)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(found: Verdicts) -> list[str]:
    """What was asked, and in a few words the answer."""
    metric = found.metric
    direction = "higher" if metric.higher else "lower"
    counts = joined(f"{n} {outcome}" for outcome, n in found.counts.items()) if found.cells else ""
    suite = f"{found.suite}: " if found.suite else ""
    return [
        f"{suite}{found.outcome}" + (f" ({counts})" if counts else ""),
        f"{metric.phrase} ({metric.unit}; {direction} is better), "
        f"tolerance {found.tolerance:g} {metric.step}, against {found.against}",
    ]


def columns(found: Verdicts) -> list[str]:
    """The heads of the columns that `numbers` fills."""
    before = "published" if found.kind == "published" else "before"
    return [before, "now", "change", "bounds", "p"]


def numbers(cell: Verdict, metric: Metric) -> list[str]:
    """Before, now, change, bounds and p of a cell; empty where there is none."""
    digits = metric.digits
    change = signed(cell.change, digits) if cell.change is not None else ""
    bounds = ""
    if cell.low is not None and cell.high is not None:
        bounds = f"{signed(cell.low, digits)} … {signed(cell.high, digits)}"
    p = "" if cell.p is None else chance(cell.p)
    return [measured(cell.before, metric), measured(cell.now, metric), change, bounds, p]


def measured(summary: Summary | None, metric: Metric) -> str:
    """`75.48 ± 0.09 (5)`: mean, spread and number of seeds."""
    if summary is None:
        return ""
    if summary.std is None:
        return f"{metric.shown(summary.mean)} ({summary.n})"
    return f"{metric.shown(summary.mean)} ± {metric.shown(summary.std)} ({summary.n})"


def reasons(found: Verdicts) -> Iterator[str]:
    """`regression: a/b kd: worse by …` for what is not simply well, gravest first."""
    for outcome in found.counts:
        if outcome not in QUIET:
            said = ((cell.reason, cell.name) for cell in found.named(outcome))
            yield from (f"{outcome}: {names}: {reason}" for reason, names in _grouped(said))


def remarks(found: Verdicts) -> Iterator[str]:
    """Other settings, other versions, and how the numbers are to be read."""
    said = ((note, cell.name) for cell in found.cells for note in cell.notes)
    yield from (f"note: {names}: {note}" for note, names in _grouped(said))
    yield from (f"note: {note}" for note in found.notes)
    tested = sum(cell.p is not None for cell in found.cells)
    if tested:
        sides = "two-sided" if found.kind == "compare" else "one-sided"
        count = f"{tested} cells" if tested > 1 else "1 cell"
        yield f"bounds: each holds with 95 %; p: {sides}, corrected for {count} (Holm)"


def _grouped(said: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each thing that is said, once, with the names it is said of, or how many they are."""
    groups: dict[str, list[str]] = {}
    for words, name in said:
        groups.setdefault(words, []).append(name)
    for words, names in groups.items():
        yield words, ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} cells"
