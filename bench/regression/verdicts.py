"""Verdicts of the regression check, per cell and overall; as a document, JSON or JUnit XML."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args
from xml.etree import ElementTree as ET

from bench.config.text import count
from bench.report.document import Document, GridRow, Section, grid_cell, header, spans
from bench.report.labels import Metric, join, one_line, p_value, signed
from bench.report.model import Cell, Measured, Note

Outcome = Literal[
    "regression", "failed", "missing", "worse", "inconclusive", "better", "same", "pass",
    "skipped", "uncompared",
]  # fmt: skip
Kind = Literal["check", "published", "compare"]

FORMAT = 1  # version of the JSON
MAX_NAMED = 3  # a note about more cells gives their number instead of their names
ORDER: tuple[Outcome, ...] = get_args(Outcome)  # the most severe first
_DECIDED = frozenset(ORDER) - {"skipped", "uncompared"}
_QUIET = ("pass", "same", "better", "skipped")  # the notes omit the reasons of these outcomes
_FOLDED: tuple[Outcome, ...] = ("pass", "same", "skipped", "uncompared")  # cells shown collapsed
_PASS, _REGRESSION, _WRONG_USE, _FAILED, _INCONCLUSIVE = 0, 1, 2, 3, 4
_JUNIT = {
    "regression": "failure", "failed": "error", "missing": "error", "inconclusive": "skipped",
    "skipped": "skipped", "uncompared": "skipped",
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """The verdict on one cell; all numbers are in the unit of the metric.

    Attributes:
        outcome: The verdict in one word.
        reason: A phrase that explains the outcome.
        before: The metric in the baseline, the first folder or the papers.
        now: The metric now.
        low: One-sided 95 % lower bound of the change.
        high: One-sided 95 % upper bound of the change.
        p: p-value of a regression (for `compare`: of a difference), Holm-corrected.
        seeds_needed: Seeds per side that would decide an inconclusive cell; None: above 100,
            unknown, or not needed.
        notes: Other differences between before and now: settings, teacher.
        altered: Whether the settings before and now differ.
    """

    pair: str
    method: str
    label: str
    outcome: Outcome
    reason: str
    before: Measured | None = None
    now: Measured | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    seeds_needed: int | None = None
    notes: tuple[str, ...] = ()
    altered: bool = False

    @classmethod
    def of(cls, cell: Cell, outcome: Outcome, reason: str) -> "Verdict":
        """Return a verdict without numbers on a cell."""
        return cls(cell.pair, cell.method, cell.label, outcome, reason.removeprefix(f"{outcome}: "))

    @property
    def name(self) -> str:
        """Pair and method, such as `resnet8x4/resnet8 crd+kd`."""
        return f"{self.pair} {self.method}"

    @property
    def doubtful(self) -> bool:
        """Whether a strict check rejects the cell: it is inconclusive, or its settings changed."""
        return self.outcome == "inconclusive" or self.altered

    @property
    def change(self) -> float | None:
        """The mean now minus the mean before."""
        return self.now.mean - self.before.mean if self.now and self.before else None


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of one check, in the order of the suite.

    Attributes:
        kind: The comparison: check, published or compare.
        against: The reference, such as `the baseline of quickstart (commit 61fcf1e, 2026-11-21)`.
        tolerance: Largest accepted difference, in the unit of the metric.
        notes: Differences that concern all cells, such as another version or device.
    """

    kind: Kind
    suite: str
    against: str
    metric: Metric
    tolerance: float
    cells: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[Outcome, int]:
        """The number of cells of each outcome, the most severe first."""
        counts = Counter(cell.outcome for cell in self.cells)
        return {outcome: counts[outcome] for outcome in ORDER if counts[outcome]}

    def named(self, *outcomes: Outcome) -> list[Verdict]:
        """Return the cells with one of these outcomes."""
        return [cell for cell in self.cells if cell.outcome in outcomes]

    @property
    def outcome(self) -> str:
        """`nothing compared`, or `compared` for two folders, or the most severe outcome."""
        if not self.named(*_DECIDED):
            return "nothing compared"
        if self.kind == "compare":
            return "compared"
        return next(iter(self.counts))

    def exit_code(self, strict: bool = False) -> int:
        """Return the exit code of the command.

        Args:
            strict: Whether doubtful cells give an exit code other than 0; for `compare`, whether
                worse or inconclusive cells do.

        Returns:
            0 pass, 1 regression, 2 nothing could be compared, 3 runs failed or missing, 4 a cell is
            doubtful (only if strict). A regression has priority over missing runs. `compare`
            returns 0 or 2; if strict, 1 for a worse cell and 4 for an inconclusive one.
        """
        if not self.named(*_DECIDED):
            return _WRONG_USE
        if self.kind == "compare":
            doubt = _INCONCLUSIVE if self.named("inconclusive") else _PASS
            return (_REGRESSION if self.named("worse") else doubt) if strict else _PASS
        if self.named("regression"):
            return _REGRESSION
        if self.named("failed", "missing"):
            return _FAILED
        doubt = any(cell.doubtful for cell in self.cells)
        return _INCONCLUSIVE if strict and doubt else _PASS


def verdicts_document(verdicts: Verdicts) -> Document:
    """Return a document: cells that need attention, other cells (collapsed), and reasons."""
    title, question = _heading(verdicts)
    ordered = sorted(verdicts.cells, key=lambda cell: ORDER.index(cell.outcome))
    attention = [cell for cell in ordered if cell.outcome not in _FOLDED]
    sections = [_section(attention, verdicts)] if attention else []
    if others := verdicts.named(*_FOLDED):
        number = count(len(others), "other cell" if attention else "cell")
        sections.append(_section(others, verdicts, number))
    notes = tuple(Note("", text) for text in _notes(verdicts))
    caption = spans(f"{question[0].upper()}{question[1:]}.")
    return Document(title, caption, tuple(sections), notes, verdicts.metric.name)


def verdicts_data(verdicts: Verdicts, strict: bool = False) -> dict[str, Any]:
    """Return verdicts as data for JSON, always with equal keys; `exit_code` explains `strict`."""
    return {
        "format": FORMAT,
        "kind": verdicts.kind,
        "suite": verdicts.suite or None,
        "against": verdicts.against,
        "metric": verdicts.metric.name,
        "unit": verdicts.metric.difference_unit,
        "higher_is_better": verdicts.metric.higher,
        "tolerance": verdicts.tolerance,
        "outcome": verdicts.outcome,
        "exit_code": verdicts.exit_code(strict),
        "counts": dict(verdicts.counts),
        "notes": list(verdicts.notes),
        "cells": [asdict(cell) | {"change": cell.change} for cell in verdicts.cells],
    }


def verdicts_junit(verdicts: Verdicts, strict: bool = False) -> str:
    """Return verdicts as JUnit XML, with one test case per cell.

    Args:
        verdicts: The verdicts to write.
        strict: Whether doubtful cells count as failures, as in `Verdicts.exit_code`.
    """
    kinds = [
        "failure" if strict and cell.doubtful else _JUNIT.get(cell.outcome, "")
        for cell in verdicts.cells
    ]
    totals = {
        "name": one_line(f"bench {verdicts.kind} {verdicts.suite}"),
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "time": "0",
    }
    root = ET.Element("testsuites", totals)
    suite = ET.SubElement(root, "testsuite", {**totals, "skipped": str(kinds.count("skipped"))})
    properties = ET.SubElement(suite, "properties")
    data = verdicts_data(verdicts, strict)
    for name in ("metric", "tolerance", "against", "outcome"):
        value = one_line(str(data[name]))
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for cell, kind in zip(verdicts.cells, kinds, strict=True):
        _test_case(suite, cell, kind, verdicts)
    texts = [*_heading(verdicts), *_notes(verdicts)]
    ET.SubElement(suite, "system-out").text = "\n".join(map(one_line, texts))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _heading(verdicts: Verdicts) -> list[str]:
    """Return two lines: the outcome with counts, and the metric, tolerance and reference."""
    counts = join(f"{n} {outcome}" for outcome, n in verdicts.counts.items() or [("cells", 0)])
    suite = f"{verdicts.suite}: " if verdicts.suite else ""
    return [
        one_line(f"{suite}{verdicts.outcome} ({counts})"),
        f"{verdicts.metric.description}, tolerance {verdicts.tolerance:g} "
        f"{verdicts.metric.difference_unit}, against {verdicts.against}",
    ]


def _numbers(cell: Verdict, verdicts: Verdicts) -> dict[str, str]:
    """Return before, now, change, bounds and p of a cell as text; empty if unknown."""
    metric = verdicts.metric
    before, now = (  # `75.48 ± 0.09 (5)`
        f"{metric.mean_std(side.mean, side.std)} ({side.n})" if side else ""
        for side in (cell.before, cell.now)
    )
    ends = [signed(end, metric.digits) for end in (cell.low, cell.high) if end is not None]
    return {
        "Published" if verdicts.kind == "published" else "Before": before,
        "Now": now,
        "Change": "" if cell.change is None else signed(cell.change, metric.digits),
        "Bounds": " … ".join(ends),
        "p": "" if cell.p is None else p_value(cell.p),
    }


def _section(cells: Sequence[Verdict], verdicts: Verdicts, title: str = "") -> Section:
    rows = [
        {"Verdict": cell.outcome, "Pair": cell.pair, "Method": cell.method}
        | _numbers(cell, verdicts)
        for cell in cells
    ]
    grid = tuple(GridRow(tuple(map(grid_cell, row.values()))) for row in rows)
    columns = list(rows[0])
    names = (columns.index("Pair"), columns.index("Method"))
    return Section(header(columns), grid, spans(title), folded=bool(title), names=names)


def _notes(verdicts: Verdicts) -> Iterator[str]:
    """Yield reasons (most severe outcome first), other differences, and an explanation of p."""
    for outcome in verdicts.counts:
        if outcome not in _QUIET:
            pairs = ((cell.reason, cell.name) for cell in verdicts.named(outcome))
            yield from (f"{outcome}: {names}: {reason}" for reason, names in _grouped(pairs))
    pairs = ((note, cell.name) for cell in verdicts.cells for note in cell.notes)
    yield from (f"note: {names}: {note}" for note, names in _grouped(pairs))
    yield from (f"note: {note}" for note in verdicts.notes)
    if tested := sum(cell.p is not None for cell in verdicts.cells):
        sides = "two-sided" if verdicts.kind == "compare" else "one-sided"
        family = f"Holm-corrected over {count(tested, 'comparison')}"
        yield f"bounds: one-sided, 95 % confidence each; p: {sides}, {family}"


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each text once, with the names or the number of its cells."""
    groups: dict[str, list[str]] = {}
    for text, name in pairs:
        groups.setdefault(text, []).append(name)
    for text, names in groups.items():
        yield text, ", ".join(names) if len(names) <= MAX_NAMED else f"{len(names)} cells"


def _test_case(suite: ET.Element, cell: Verdict, kind: str, verdicts: Verdicts) -> None:
    classname = ".".join(filter(None, (verdicts.suite, cell.pair)))
    attributes = {"classname": one_line(classname), "name": one_line(cell.method), "time": "0"}
    case = ET.SubElement(suite, "testcase", attributes)
    numbers = _numbers(cell, verdicts).items()
    details = [f"{name.lower()}: {value}" for name, value in numbers if value]
    text = "\n".join(map(one_line, (cell.reason, *details, *cell.notes)))
    if kind:
        by_setting = cell.altered and cell.outcome not in ("regression", "inconclusive")
        message = cell.notes[0] if by_setting else cell.reason
        child = ET.SubElement(case, kind, {"message": one_line(message)})
        if kind != "skipped":
            child.set("type", cell.outcome)
            child.text = text
            return
    ET.SubElement(case, "system-out").text = text
