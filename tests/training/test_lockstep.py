"""The law of training: together or alone, interrupted or not, a run gives the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import api
from bench.planning.plan import Plan, select
from bench.spec import Recipe
from bench.training.optimizer import learning_rate
from bench.training.teacher import Teacher
from distillers import Features
from tests import toy

EVERY = "[student, kd, fitnet, at, sp, cc, rkd, pkt, crd, crd+kd, wcord, wcord+kd, dcd, dcd+kd]"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, str]]:
    folder = tmp_path_factory.mktemp("together")
    plan = toy.plan(folder, methods=EVERY)
    return plan, toy.outcome(plan, folder)


def test_all_methods_are_done(together: tuple[Plan, dict[str, str]]) -> None:
    _, results = together
    assert len(results) == 14
    assert all('"done"' in text for text in results.values())
    assert len(set(results.values())) == 14, "two methods gave the same numbers"


@pytest.mark.parametrize("method", ["student", "crd+kd", "wcord", "dcd+kd", "fitnet"])
def test_method_gives_the_same_numbers_alone_and_together(
    together: tuple[Plan, dict[str, str]], method: str, tmp_path: Path
) -> None:
    plan, expected = together
    alone = select(plan, f"method={method}")
    assert len(alone.cells) == 1
    assert toy.outcome(alone, tmp_path) == {method: expected[method]}


def test_order_of_methods_does_not_change_numbers(
    together: tuple[Plan, dict[str, str]], tmp_path: Path
) -> None:
    results = toy.outcome(toy.plan(tmp_path, methods="[dcd, crd, kd]"), tmp_path)
    assert results == {name: together[1][name] for name in ("dcd", "crd", "kd")}


def test_order_of_terms_does_not_change_numbers(tmp_path: Path) -> None:
    crd = "crd: {weight: 0.8, negatives: 16, width: 8}"
    forward = toy.plan(tmp_path, methods=f"{{m: {{ce: 1, {crd}, kd: 1}}}}")
    backward = toy.plan(tmp_path, methods=f"{{m: {{kd: 1, {crd}, ce: 1}}}}")
    assert set(forward.runs) == set(backward.runs)
    assert toy.outcome(forward, tmp_path / "forward") == toy.outcome(
        backward, tmp_path / "backward"
    )


def test_interrupted_cohort_gives_the_numbers_of_an_uninterrupted_one(
    together: tuple[Plan, dict[str, str]], tmp_path: Path
) -> None:
    plan, expected = together
    toy.run_interrupted(plan, tmp_path, 4)
    assert len([*(tmp_path / "results" / "state").iterdir()]) > 0
    assert toy.outcome(plan, tmp_path) == expected


def test_dropout_gives_the_same_numbers_alone_and_together(tmp_path: Path) -> None:
    plan = toy.plan(
        tmp_path,
        dataset="{name: digits, size: 32, per_class: 8, test_per_class: 5}",
        pairs="[{teacher: resnet8, student: 'torchvision:mobilenet_v3_small'}]",
    )
    expected = toy.outcome(plan, tmp_path)
    assert toy.outcome(plan, tmp_path / "again") == expected
    alone = select(plan, "method=kd")
    assert toy.outcome(alone, tmp_path / "alone") == {"kd": expected["kd"]}


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    results = toy.run(plan, tmp_path)
    finished = {record.id: record.finished for record in results.records()}
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "results").rglob("*") if p.is_file()}
    toy.run(plan, tmp_path)
    assert {record.id: record.finished for record in results.records()} == finished
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_diverging_student_does_not_change_the_others(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="{student: papers, wild: {ce: 1, kd: 1.0e+30}, kd: papers}")
    results = toy.run(plan, tmp_path)
    records = {cell.method.name: results.record(cell.run) for cell in plan.cells}
    assert records["wild"].status == "diverged"
    assert records["wild"].reason == "diverged at epoch 1"
    assert records["student"].status == records["kd"].status == "done"
    alone = toy.run(select(plan, "method=kd"), tmp_path / "alone")
    assert toy.numbers(alone.record(records["kd"].id)) == toy.numbers(records["kd"])


def test_learning_rate_falls_after_each_milestone() -> None:
    recipe = Recipe(lr=0.05, decay=0.1, milestones=(150, 180, 210))
    epochs = [1, 150, 151, 180, 181, 210, 211, 240]
    expected = [0.05, 0.05, 5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5]
    assert [learning_rate(recipe, epoch) for epoch in epochs] == pytest.approx(expected)


def test_precision_of_the_recipe_changes_run_and_numbers(tmp_path: Path) -> None:
    float32 = toy.plan(tmp_path, methods="[kd]")
    bf16 = api.load_plan(tmp_path / "toy.yaml", ["recipe.precision=bf16"])
    assert not set(float32.runs) & set(bf16.runs)
    exact, rounded = (toy.run(plan, tmp_path).record(plan.cells[0].run) for plan in (float32, bf16))
    assert rounded.environment["precision"] == "bf16"
    assert toy.numbers(exact) != toy.numbers(rounded)
    assert torch.isfinite(torch.tensor(rounded.curves[-1].loss))


def test_plain_students_do_not_use_the_teacher(
    together: tuple[Plan, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    call = Teacher.__call__

    def count(teacher: Teacher, images: Tensor, *strong: Any, **reads: Any) -> Features:
        passes.append(len(images))
        return call(teacher, images, *strong, **reads)

    monkeypatch.setattr(Teacher, "__call__", count)
    plan, expected = together
    alone = select(plan, "method=student")
    assert toy.outcome(alone, tmp_path) == {"student": expected["student"]}
    assert passes == []
    toy.outcome(select(plan, "method=student|kd"), tmp_path / "two")
    assert passes
