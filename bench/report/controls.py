"""Notes of tables on controls: which methods are better than each control."""

from collections.abc import Iterator, Mapping, Sequence

from bench.config.text import count
from bench.report.labels import Metric, join, sentences
from bench.report.model import Cell, Column, Row
from bench.stats.comparison import ALPHA, compare_to_baseline
from bench.stats.estimates import Values

LABEL = "Control: "  # begins the labels of rows
FLOOR = "agreement_floor"
WITH_FLOOR = ("top1", "agreement")  # metrics whose tables have a note on the agreement floor

Versus = Mapping[tuple[int, str, str], float]  # by column, method and control


def notes(rows: Sequence[Row], columns: Sequence[Column], metric: Metric) -> list[str]:
    """Return paragraphs that compare the methods of a table with its controls; [] without controls.

    A method is significantly better than the controls if it is significantly better than each of
    them. All comparisons of the table are one family, corrected by Holm's procedure.

    Args:
        rows: The rows of the table.
        columns: The pairs of the table.
        metric: The table's metric. Agreement with the teacher is not compared, because a control
            may have another teacher.
    """
    controls = [row for row in rows if row.role == "control"]
    methods = [row for row in rows if row.role == "method"]
    if not controls or not methods:
        return []
    paragraphs: list[str] = []
    if metric.teacher:
        gains, p = _gains(controls, methods, metric), _p_values(controls, methods, metric)
        for place, column in enumerate(columns):
            where = f" of {column.name}" if len(columns) > 1 else ""
            values = "; ".join(_control(row, place, metric, gains) for row in controls)
            text = f"controls{where}: {values}"
            paragraphs.append(sentences([text, _better(methods, place, gains, p)]))
        paragraphs.append(sentences([_test(p)]))
    if metric.name in WITH_FLOOR:
        texts = (_floor(methods, place, columns) for place, _ in enumerate(columns))
        paragraphs += [sentences([text]) for text in texts if text]
    return paragraphs


def _pairs(
    controls: Sequence[Row], methods: Sequence[Row]
) -> Iterator[tuple[tuple[int, str, str], Cell, Cell]]:
    """Yield the cells of a control and a method of the same pair, if no seed is missing."""
    for control in controls:
        for method in methods:
            cells = zip(control.cells, method.cells, strict=True)
            for place, (base, cell) in enumerate(cells):
                if base.rankable and cell.rankable:
                    yield (place, method.name, control.name), base, cell


def _gains(controls: Sequence[Row], methods: Sequence[Row], metric: Metric) -> Versus:
    """Return how much better the methods' printed means are than the controls'."""
    sign = 1 if metric.higher else -1
    return {
        key: sign * (_printed(cell, metric) - _printed(base, metric))
        for key, base, cell in _pairs(controls, methods)
    }


def _printed(cell: Cell, metric: Metric) -> float:
    return round(cell.rankable.mean, metric.digits) if cell.rankable else float("nan")


def _p_values(controls: Sequence[Row], methods: Sequence[Row], metric: Metric) -> Versus:
    """Return the two-sided p-values of the differences, corrected for all of them.

    Seeds that a method has got after looks are not used, because controls do not have them.
    """
    columns: dict[tuple[int, str], tuple[Values, dict[str, Values]]] = {}
    for (place, method, control), base, cell in _pairs(controls, methods):
        if base.measured and cell.measured and min(base.measured.n, cell.measured.n) > 1:
            _, values = columns.setdefault((place, control), (base.measured.values, {}))
            seeds = base.measured.values.keys() & cell.measured.values.keys()
            values[method] = {s: v for s, v in cell.measured.values.items() if s in seeds}
    family = [(base, list(values.values())) for base, values in columns.values()]
    compared = compare_to_baseline(family, higher=metric.higher)
    return {
        (place, method, control): comparison.p
        for ((place, control), (_, values)), comparisons in zip(
            columns.items(), compared, strict=True
        )
        for method, comparison in zip(values, comparisons, strict=True)
        if comparison.p is not None
    }


def _control(row: Row, place: int, metric: Metric, gains: Versus) -> str:
    """Return a control's value: `LS 97.1 ± 0.2 (3 of 13 methods are better)`."""
    cell, label = row.cells[place], row.label.removeprefix(LABEL)
    if cell.rankable is None or cell.measured is None:
        return f"{label} ({cell.missing.reason if cell.missing else 'no value'})"
    compared = [gain for (at, _, name), gain in gains.items() if (at, name) == (place, row.name)]
    better = sum(gain > 0 for gain in compared)
    value = metric.mean_std(cell.measured.mean, cell.measured.std)
    return f"{label} {value} ({better} of {count(len(compared), 'method')} better)"


def _better(methods: Sequence[Row], place: int, gains: Versus, p: Versus) -> str:
    """Return how many methods of a pair are better than every control."""
    above, clear, compared = [], [], 0
    for row in methods:
        keys = [key for key in gains if key[:2] == (place, row.name)]
        compared += bool(keys)
        if keys and all(gains[key] > 0 for key in keys):
            above.append(row.label)
            clear += [row.label] if all(p.get(key, 1.0) < ALPHA for key in keys) else []
    verb = "is" if len(above) == 1 else "are"
    text = f"of {count(compared, 'method')}, {len(above)} {verb} better than every control by mean"
    text += f" ({join(above)})" if above else ""
    if not p:
        return text
    return f"{text}, {len(clear)} significantly" + (f" ({join(clear)})" if clear else "")


def _test(p: Versus) -> str:
    if not p:
        return "controls: significance not tested (one seed)"
    number = count(len(p), "comparison")
    tests = f"the tests of this table, Holm-corrected over {number}"
    return f"controls: {tests}, p < {ALPHA} against each control"


def _floor(methods: Sequence[Row], place: int, columns: Sequence[Column]) -> str:
    """Return how many methods agree with the teacher more than two of their seeds do."""
    pairs = [
        (row.label, metrics["agreement"].mean, metrics[FLOOR].mean)
        for row in methods
        if {"agreement", FLOOR} <= (metrics := row.cells[place].metrics).keys()
    ]
    if not pairs:
        return ""
    where = f" of {columns[place].name}" if len(columns) > 1 else ""
    above = [label for label, agreement, floor in pairs if agreement > floor]
    floors = [floor for _, _, floor in pairs]
    names = f" ({join(above)})" if above else ""
    return (
        f"agreement floor{where}: two seeds of one method agree on {min(floors):.2f} to "
        f"{max(floors):.2f} % of the test images; {len(above)} of {count(len(pairs), 'method')} "
        f"agree with the teacher more than their own seeds with each other{names}"
    )
