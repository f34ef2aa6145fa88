"""The law of the machine: together or alone, interrupted or not, the same numbers."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.planning.plan import Plan, select
from bench.training import loop
from bench.training.loop import Examiner
from bench.training.teacher import Teacher
from bench.training.trainer import Learner
from distillers import Features
from tests import toy

EVERY = "[student, kd, fitnet, at, sp, cc, rkd, pkt, crd, crd+kd, wcord, wcord+kd, dcd, dcd+kd]"


def outcome(whole: Plan, folder: Path) -> dict[str, str]:
    results = toy.run(whole, folder)
    return {cell.method.name: toy.numbers(results.record(cell.run)) for cell in whole.cells}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, str]]:
    folder = tmp_path_factory.mktemp("together")
    whole = toy.plan(folder, methods=EVERY)
    return whole, outcome(whole, folder)


def test_all_methods_end_with_a_result(together: tuple[Plan, dict[str, str]]) -> None:
    whole, found = together
    assert len(found) == 14
    assert all('"done"' in text for text in found.values())
    assert len(set(found.values())) == 14, "two methods gave the same numbers"


@pytest.mark.parametrize("method", ["student", "crd+kd", "wcord", "dcd+kd", "fitnet"])
def test_alone_gives_the_numbers_of_together(
    together: tuple[Plan, dict[str, str]], method: str, tmp_path: Path
) -> None:
    whole, expected = together
    alone = select(whole, f"method={method}")
    assert len(alone.cells) == 1
    assert outcome(alone, tmp_path) == {method: expected[method]}


def test_order_of_methods_does_not_matter(
    together: tuple[Plan, dict[str, str]], tmp_path: Path
) -> None:
    names = "[dcd, crd, kd]"
    reversed_ = toy.plan(tmp_path, methods=names)
    found = outcome(reversed_, tmp_path)
    assert found == {name: together[1][name] for name in ("dcd", "crd", "kd")}


def test_order_of_terms_does_not_matter(tmp_path: Path) -> None:
    crd = "crd: {weight: 0.8, negatives: 16, width: 8}"
    one = toy.plan(tmp_path, methods=f"{{m: {{ce: 1, {crd}, kd: 1}}}}")
    other = toy.plan(tmp_path, methods=f"{{m: {{kd: 1, {crd}, ce: 1}}}}")
    assert set(one.runs) == set(other.runs)
    assert outcome(one, tmp_path / "one") == outcome(other, tmp_path / "other")


class Stopped(Exception):
    """A power cut."""


def test_interrupted_gives_the_numbers_of_undisturbed(
    together: tuple[Plan, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, expected = together
    train, seen = loop.train, []

    def cut(learners, teacher, data, seed, after, record):  # type: ignore[no-untyped-def]
        def stopping(learner: Learner) -> None:
            after(learner)
            seen.append(learner)
            if teacher is not None and len(seen) == 5:
                raise Stopped

        train(learners, teacher, data, seed, stopping, record)

    monkeypatch.setattr(loop, "train", cut)
    with pytest.raises(Stopped):
        toy.run(whole, tmp_path)
    monkeypatch.undo()
    assert outcome(whole, tmp_path) == expected


def test_a_network_that_drops_out_draws_by_name_too(tmp_path: Path) -> None:
    dropping = toy.plan(
        tmp_path,
        dataset="{name: digits, size: 32, per_class: 8, test_per_class: 5}",
        pairs="[{teacher: resnet8, student: 'torchvision:mobilenet_v3_small'}]",
    )
    expected = outcome(dropping, tmp_path)
    assert outcome(dropping, tmp_path / "again") == expected
    alone = select(dropping, "method=kd")
    assert outcome(alone, tmp_path / "alone") == {"kd": expected["kd"]}


def test_nothing_runs_twice(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path)
    results = toy.run(whole, tmp_path)
    before = {r["id"]: r["finished"] for r in results.records()}
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "results").rglob("*") if p.is_file()}
    toy.run(whole, tmp_path)
    assert {r["id"]: r["finished"] for r in results.records()} == before
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_a_diverging_student_retires_alone(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods="{student: papers, wild: {ce: 1, kd: 1.0e+30}, kd: papers}")
    results = toy.run(whole, tmp_path)
    status = {c.method.name: results.record(c.run) for c in whole.cells}
    assert status["wild"]["status"] == "diverged"
    assert status["wild"]["reason"] == "diverged at epoch 1"
    assert status["student"]["status"] == status["kd"]["status"] == "done"
    kd = next(cell.run for cell in whole.cells if cell.method.name == "kd")
    alone = select(whole, "method=kd")
    again = toy.run(alone, tmp_path / "alone")
    assert toy.numbers(again.record(kd)) == toy.numbers(status["kd"])


def test_epochs_that_are_evaluated() -> None:
    learner = Learner.__new__(Learner)
    learner.recipe = {"evaluate_every": 2, "epochs": 5}
    due = []
    for learner.epoch in range(1, 6):
        if Examiner.due(None, learner):  # type: ignore[arg-type]
            due.append(learner.epoch)
    assert due == [2, 4, 5]


def test_learning_rate_falls_after_each_milestone() -> None:
    from bench.training.trainer import learning_rate

    recipe = {"lr": 0.05, "decay": 0.1, "milestones": [150, 180, 210]}
    epochs = [1, 150, 151, 180, 181, 210, 211, 240]
    expected = [0.05, 0.05, 5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5]
    assert [learning_rate(recipe, e) for e in epochs] == pytest.approx(expected)


def test_a_run_has_the_precision_of_its_recipe(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods="[kd]")
    lower = toy.plan(tmp_path, methods="[kd]")
    other = toy.api.load_plan(tmp_path / "toy.yaml", ["recipe.precision=bf16"])
    assert set(whole.runs) == set(lower.runs)
    assert not set(whole.runs) & set(other.runs)
    a, b = toy.run(whole, tmp_path), toy.run(other, tmp_path)
    one, two = (r.record(p.cells[0].run) for r, p in ((a, whole), (b, other)))
    assert two["environment"]["precision"] == "bf16"
    assert toy.numbers(one) != toy.numbers(two)
    assert torch.isfinite(torch.tensor(two["curves"][-1]["loss"]))


def test_plain_students_do_not_ask_the_teacher(
    together: tuple[Plan, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    call = Teacher.__call__

    def counted(teacher: Teacher, images: Tensor, stages: bool = True) -> Features:
        asked.append(len(images))
        return call(teacher, images, stages)

    monkeypatch.setattr(Teacher, "__call__", counted)
    whole, expected = together
    alone = select(whole, "method=student")
    assert outcome(alone, tmp_path) == {"student": expected["student"]}
    assert asked == []
    outcome(select(whole, "method=student|kd"), tmp_path / "two")
    assert asked
