"""Entries of suites without a training; and a suite with every kind of cell."""

from typing import Any

from bench import report
from bench.report.model import Entry, Report, Role, Table, TableContext
from bench.results.record import Record
from bench.spec import DataSpec, Recipe
from tests.records import make_record

PAIRS = {
    "wrn_40_2/wrn_16_2": ("wrn_40_2", "wrn_16_2"),
    "resnet32x4/shufflenet_v2": ("resnet32x4", "shufflenet_v2"),
}
SEEDS = (0, 1, 2)


def record(run: str, seed: int, top1: float, kind: str = "student", **last: float) -> Record:
    metrics = {"last": {"top1": top1, **last}, "oracle": {"top1": top1 + 0.5, "epoch": 7}}
    return make_record(run, seed, kind=kind, metrics=metrics)


def unfinished(run: str, seed: int, status: str, reason: str | None) -> Record:
    return make_record(run, seed, status=status, reason=reason)


def cells(
    method: str,
    *columns: list[Any],
    role: Role = "method",
    note: str = "",
    label: str = "",
    metric: str = "top1",
) -> list[Entry]:
    """Entries of one method: for each pair a value, a record or None, seed by seed."""
    entries = []
    for (pair, (teacher, student)), values in zip(PAIRS.items(), columns, strict=False):
        for seed, value in zip(SEEDS, values, strict=False):
            result = value
            if isinstance(value, float):
                kind = "teacher" if role == "teacher" else "student"
                result = record(f"{pair}{method}{seed}", seed, value, kind)
                result.metrics["last"][metric] = value
            entries.append(Entry(pair, teacher, student, method, seed, result, label, note, role))
    return entries


def probe_context() -> TableContext:
    small = Recipe(epochs=30)
    return TableContext(
        title="Probe",
        caption="A short recipe on a tenth of CIFAR-100: no number of a paper.",
        data=DataSpec(name="cifar100", per_class=50, test_per_class=None, validation=0),
        recipes={
            "wrn_40_2/wrn_16_2": small,
            "resnet32x4/shufflenet_v2": small.model_copy(update={"lr": 0.01}),
        },
    )


def probe_entries() -> list[Entry]:
    teacher = [record("t1", 0, 75.61, "teacher")] * 3, [record("t2", 0, 79.42, "teacher")] * 3
    skipped = unfinished("s", 0, "skipped", "AT needs as many stages in both, 3 and 4 found")
    diverged = unfinished("d", 2, "diverged", "diverged at epoch 12")
    failed = unfinished("f", 0, "failed", "Traceback:\n  File x\nOutOfMemoryError: 8 GiB")
    return [
        *cells("teacher", *teacher, role="teacher"),
        *cells("ce", [73.0, 73.5, 73.3], [71.8, 71.6, 72.0], role="student"),
        *cells("kd", [74.9, 75.0, 74.8], [74.4, 74.6, 74.5], label="KD"),
        *cells("at", [74.1, 74.2, 74.0], [skipped] * 3, label="AT"),
        *cells("crd", [75.0, 75.5, 75.1], [75.6, 75.7, 75.8], label="CRD"),
        *cells("wcord", [75.2, 75.1, 75.3], [76.0, 76.4, diverged], label="WCoRD",
               note="reconstruction"),
        *cells("dcd", [failed] * 3, [None] * 3, label="DCD"),
    ]  # fmt: skip


def near(level: float, scatter: tuple[float, ...] = (0.02, -0.02, 0.0)) -> list[float]:
    """Three runs with a spread that hides no difference."""
    return [level + each for each in scatter]


def many() -> list[Entry]:
    """Every verdict, without a missing value."""
    kd, wild = near(75.0), near(75.8, (0.9, -0.9, 0.1))
    return [
        *cells("ce", near(73.0, (0.03, 0.0, -0.03)), near(73.0), role="student", label="Student"),
        *cells("kd", kd, kd, label="KD"),
        *cells("up", near(77.0, (0.02, 0.0, -0.02)), near(77.5, (0.0, 0.01, 0.02))),
        *cells("down", near(73.9, (0.02, 0.0, -0.02)), near(73.5, (0.0, 0.01, 0.02))),
        *cells("same", near(75.04, (0.0, 0.01, 0.02)), near(75.0, (0.0, 0.03, 0.0))),
        *cells("wild", wild, wild, label="Wild"),
    ]


def render(table: Table, name: str, kind: report.Kind = "tables", **how: Any) -> str:
    """One table, or its statistics, in a format."""
    return report.render(Report("suite", tables=(table,)), name, kind, **how)


def row(table: Table, name: str) -> Any:
    return next(row for row in table.rows if row.name == name)
