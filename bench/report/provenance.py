"""The sections of a report card on teachers, machines, networks and times, from records."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from bench.config.text import count
from bench.report import labels
from bench.report.document import GridRow, Section, grid_cell, header, spans
from bench.report.labels import join, sentences
from bench.results.record import Record

if TYPE_CHECKING:
    from bench.planning.plan import Plan

DIGITS = 16  # of a SHA-256 or a fingerprint
ENVIRONMENT = {
    "device": "Device", "system": "System", "python": "Python", "torch": "torch",
    "torchvision": "torchvision", "timm": "timm", "cuda": "CUDA", "precision": "Precision",
    "threads": "CPU threads", "cuda_graphs": "CUDA graphs", "bench": "distillbench",
    "commit": "Commit",
}  # fmt: skip
ROLES = {
    "teacher": "teacher", "student": "student", "ensemble": "ensemble", "probe": "measure",
}  # fmt: skip


def teachers(plan: "Plan", done: Sequence[Record]) -> Section:
    """Return the teachers; one twice if its students learned from other weights than it has now."""
    sources = {id: run for id, run in plan.runs.items() if run.kind in ("teacher", "ensemble")}
    taught = {record.teacher.id for record in done if record.teacher}
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for record in done:
        if record.id in taught | sources.keys() and record.weights:
            top1 = "" if record.top1 is None else f"{record.top1:.2f}"
            rows[record.id, record.weights] = (
                labels.network(record.network.name), origin(record), str(record.seed), top1,
                record.weights[:DIGITS], record.id,
            )  # fmt: skip
    for record in done:
        if (info := record.teacher) and (info.id, info.sha256) not in rows:
            rows[info.id, info.sha256] = (
                labels.network(info.network), "as its students' records name it", "",
                f"{info.top1:.2f}", info.sha256[:DIGITS], info.id,
            )  # fmt: skip
    names = ["Teacher", "Origin", "Seed", "Top-1 (%)", "SHA-256 of weights", "Run"]
    about = f"first {DIGITS} of 64 digits of each SHA-256; top-1 accuracy on the test images"
    return section("Teachers", names, sorted(rows.values()), sentences([about]))


def origin(record: Record) -> str:
    """Return where a network's weights come from: its training, a checkpoint, an ensemble."""
    spec = record.specification
    if spec.checkpoint:
        return f"checkpoint {spec.checkpoint[:DIGITS]}"
    if spec.members:
        return f"ensemble of {len(spec.members)}"
    if spec.role == "student":
        return f"student, trained with {'+'.join(spec.method)}"
    return f"trained for {count(spec.epochs, 'epoch')}" if spec.epochs else "not trained"


def environment(done: Sequence[Record]) -> Section:
    """Return each property of machines and software with its values, and the runs of each."""
    rows = []
    for key, name in ENVIRONMENT.items():
        values = Counter(
            _printed(value) for record in done if (value := record.environment.get(key)) is not None
        )
        absent = len(done) - values.total()
        if values and absent:
            values["not recorded"] = absent
        runs = [f"{value} ({count(n, 'run')})" for value, n in sorted(values.items())]
        if values:
            rows.append((name, "; ".join(runs) if len(values) > 1 else next(iter(values))))
    return section("Machines and versions", ["Property", "Value"], rows, wrapped=True)


def _printed(value: str | int | bool | None) -> str:
    return labels.setting(value) if isinstance(value, bool) else str(value)


def networks(plan: "Plan", done: Sequence[Record]) -> Section:
    """Return parameters and multiply-adds of all networks, as records have them."""
    methods: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for record in done:
        if record.kind != "probe":
            info, cell = record.network, plan.first.get(record.id)
            costs = _number(info.parameters), _number(info.multiply_adds)
            key = (labels.network(info.name), ROLES[record.kind], *costs)
            methods.setdefault(key, {})[cell.method.label if cell else ""] = None
    usual = Counter(key[:2] for key in methods)
    rows = [
        (*key, join(filter(None, names)) if usual[key[:2]] > 1 and any(names) else "all")
        for key, names in sorted(methods.items())
    ]
    names = ["Network", "Role", "Parameters", "Multiply-adds", "Methods"]
    about = "multiply-adds of one image, with a method's own classifier if it has one"
    return section("Networks", names, rows, sentences([about]))


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def times(plan: "Plan", done: Sequence[Record]) -> Section:
    """Return the training times of each kind of runs and each method, by device."""
    groups: dict[tuple[str, str], list[float]] = {}
    for record in done:
        cell = plan.first.get(record.id)
        idle = "" if record.specification.epochs or record.kind == "probe" else ", not trained"
        label = cell.method.label if cell else f"({ROLES[record.kind]}{idle})"
        device = str(record.environment.get("device") or "not recorded")
        groups.setdefault((label, device), []).append(record.seconds)
    rows = [
        (label, device, str(len(times)), f"{sum(times):,.1f}", f"{median(times):,.1f}")
        for (label, device), times in groups.items()
    ]
    total = sum(record.seconds for record in done)
    about = f"seconds of all runs: {total:,.0f} ({total / 3600:.2f} hours)"
    shared = "runs that train together share batches and the teacher's passes, which do not count"
    names = ["Runs of", "Device", "Runs", "Total (s)", "Median (s)"]
    return section("Time", names, rows, sentences([about, shared]))


def section(
    title: str,
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    about: str = "",
    *,
    wrapped: bool = False,
) -> Section:
    """Return a section with a grid.

    Args:
        title: Title of the section.
        names: Names of the columns.
        rows: The texts of each row.
        about: The paragraph above the grid.
        wrapped: As in `Section`.
    """
    lines = tuple(GridRow(tuple(map(grid_cell, row))) for row in rows)
    return Section(header(names), lines, spans(title), about, wrapped=wrapped)
