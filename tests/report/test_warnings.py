"""Warnings that save weeks: in the table's notes, after the run, in `validate --results`."""

from pathlib import Path
from typing import Any

import pytest

from bench.planning.plan import Plan
from bench.report import build
from bench.results import Results
from tests import toy
from tests.command import bench


def results(plan: Plan, folder: Path, top1: dict[str, float], **changes: dict[str, Any]) -> Results:
    """Records with these accuracies, by method or `teacher`, and changed fields."""
    store = Results(folder / "results")
    cells = {cell.run: cell.method.name for cell in plan.cells}
    for id, run in plan.runs.items():
        method = cells.get(id, "teacher")
        spec = run.specification
        fields: dict[str, Any] = {
            "metrics": {"last": {"top1": top1[method] + 0.01 * spec.seed}},
            "data": {"classes": 10, "test_images": 50},
            "network": {"name": spec.network},
            **changes.get(method, {}),
        }
        record = toy.record(id, specification=spec, kind=run.kind, seed=spec.seed)
        store.write(toy.changed(record, name=plan.names()[id], **fields))
    return store


def warnings(plan: Plan, store: Results) -> list[str]:
    return build.warnings_of(build.assemble(plan, store))


GOOD = {"teacher": 90.0, "student": 60.0, "kd": 65.0, "at": 66.0}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return toy.plan(tmp_path, methods="[student, kd, at]", seeds="[0, 1]")


@pytest.mark.case("teacher-at-chance")
def test_good_results_have_no_warnings(plan: Plan, tmp_path: Path) -> None:
    assert warnings(plan, results(plan, tmp_path, GOOD)) == []


@pytest.mark.case("teacher-at-chance")
def test_a_teacher_at_chance_is_a_warning(plan: Plan, tmp_path: Path) -> None:
    store = results(plan, tmp_path, {**GOOD, "teacher": 12.0})
    chance, below = warnings(plan, store)
    assert chance == (
        "the teacher resnet8 (seed 0) has 12.00 %, about chance (10.00 %): "
        "its students learn nothing from it"
    )
    assert below.startswith("the teacher of resnet8 → resnet8 has 12.00 %, less than the plain")


@pytest.mark.case("teacher-at-chance")
def test_a_method_below_the_plain_student_is_a_warning(plan: Plan, tmp_path: Path) -> None:
    (warning,) = warnings(plan, results(plan, tmp_path, {**GOOD, "at": 50.0}))
    assert warning == "mean below the plain student's in most pairs: AT (1 of 1)"


@pytest.mark.case("teacher-at-chance")
def test_diverged_runs_name_the_learning_rate(tmp_path: Path) -> None:
    pairs = "[{teacher: resnet8, student: mobilenet_v2}, {teacher: resnet8, student: resnet14}]"
    plan = toy.plan(tmp_path, methods="[student]", seeds="[0, 1]", pairs=pairs)
    diverged = {"student": {"status": "diverged", "reason": "diverged at epoch 1", "metrics": {}}}
    texts = warnings(plan, results(plan, tmp_path, GOOD, **diverged))
    assert "2 of 2 runs of MobileNetV2 diverged with lr 0.05; the papers use 0.01" in texts[0]
    assert "2 of 2 runs of resnet14 diverged with lr 0.05; try 0.01" in texts[1]


@pytest.mark.case("teacher-at-chance")
@pytest.mark.parametrize(("copies", "percent"), [(5, "10"), (50, "100")])
def test_test_images_among_the_training_images_are_a_warning(
    plan: Plan, tmp_path: Path, copies: int, percent: str
) -> None:
    shared = {"classes": 10, "test_images": 50, "test_images_in_train": copies}
    (warning,) = warnings(plan, results(plan, tmp_path, GOOD, kd={"data": shared}))
    assert warning.startswith(f"{copies} of 50 test images ({percent} %) are also training images")


@pytest.mark.case("teacher-at-chance")
def test_warnings_are_notes_of_the_table_and_in_validate(here: Path) -> None:
    plan = toy.plan(here, methods="[student, kd, at]", seeds="[0, 1]")
    results(plan, here, {**GOOD, "at": 50.0})
    text = "warning: mean below the plain student's in most pairs: AT (1 of 1)"
    assert text in bench("report", "toy.yaml", "--format", "md,tex,html").stdout
    for suffix in ("md", "tex", "html"):
        content = (here / f"results/toy.{suffix}").read_text("utf-8").replace("&#x27;", "'")
        assert text in content, suffix
    assert text in bench("validate", "toy.yaml", "--results", "results").stdout
    assert "AT (1 of 1)" not in bench("validate", "toy.yaml").stdout
