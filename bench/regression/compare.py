"""Two results folders side by side."""

from collections.abc import Iterable

from bench.regression import settings
from bench.regression.baseline import environment
from bench.regression.cells import Cell, Record, from_records
from bench.regression.check import verdict
from bench.regression.judging import question
from bench.regression.matching import Match
from bench.regression.verdicts import Verdict, Verdicts

Key = tuple[str, str]


def compare(
    before: Iterable[Record],
    now: Iterable[Record],
    metric: str = "top1",
    tolerance: float | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> Verdicts:
    """Better, same, worse or inconclusive for each cell that two folders have in common.

    better, worse: the difference exceeds the tolerance and noise is ruled out (two-sided, Holm
    over the cells); same: a difference beyond the tolerance is ruled out. Cells are the same by
    pair and method; of several with that name those that also agree in every setting, and where
    none does, the difference is told. Raises BenchError for an unknown metric.
    """
    asked = question(metric, tolerance, "compare")
    records = list(before), list(now)
    sides = from_records(records[0]), from_records(records[1])
    coupled = _coupled(*sides)
    verdicts = tuple(asked.all(_matched(left, right, metric, names) for left, right in coupled))
    notes = settings.environments(environment(records[0]), environment(records[1]))
    against = f"{names[0]} (now: {names[1]})"
    return Verdicts("compare", "", against, asked.metric, asked.tolerance, verdicts, notes)


def _coupled(before: list[Cell], now: list[Cell]) -> Iterable[tuple[Cell | None, Cell | None]]:
    """Each cell with its counterpart, if there is one; cells of the same name in a stable order."""
    groups: dict[Key, tuple[list[Cell], list[Cell]]] = {}
    for side, cells in enumerate((before, now)):
        for cell in cells:
            groups.setdefault(cell.key, ([], []))[side].append(cell)
    for left, right in groups.values():
        for cell in list(left):
            twin = next((o for o in right if not settings.differs(cell, o)), None)
            if twin is not None:
                left.remove(cell)
                right.remove(twin)
                yield cell, twin
        while left and right:
            yield left.pop(0), right.pop(0)
        yield from ((cell, None) for cell in left)
        yield from ((None, cell) for cell in right)


def _matched(
    before: Cell | None, now: Cell | None, metric: str, names: tuple[str, str]
) -> Match | Verdict:
    for cell, other, name in ((now, before, names[0]), (before, now, names[1])):
        if other is None and cell is not None:
            return verdict(cell, "uncompared", f"not in {name}")
    assert before is not None
    assert now is not None
    for cell, name in ((before, names[0]), (now, names[1])):
        if cell.hole is not None:
            return verdict(cell, "uncompared", f"in {name} {cell.hole.reason}")
        if metric not in cell.metrics:
            return verdict(cell, "uncompared", f"in {name} without {metric}")
    return Match(before, now)
