"""`controls: true`: the methods that it adds, their runs, and their place in tables."""

from pathlib import Path

import pytest
import torch

from bench import data, tables
from bench.errors import ConfigError
from bench.execution.protocol import Task
from bench.planning import saved
from bench.planning.measures import with_measures
from bench.planning.plan import Plan
from bench.report import build
from bench.suite import read, render
from bench.training.trainer import Trainer
from tests import toy

CPU = torch.device("cpu")
ON = {"controls": "true", "seeds": "[0, 1]"}


def runs_of(plan: Plan, method: str) -> list[str]:
    return [cell.run for cell in plan.cells if cell.method.name == method]


def test_controls_follow_the_methods_and_change_no_id_of_theirs(tmp_path: Path) -> None:
    plain, plan = toy.plan(tmp_path, seeds="[0, 1]"), toy.plan(tmp_path, **ON)
    kinds = [(method.name, method.control) for method in plan.suite.methods]
    assert kinds == [
        ("student", None),
        ("kd", None),
        ("ls", "smoothing"),
        ("untrained-teacher", "untrained"),
        ("longer-training", "longer"),
    ]
    assert plain.runs.keys() < plan.runs.keys()
    assert set(plan.suite.evaluate) == {"agreement_floor"}
    assert {name for _, name in plan.measures} == {"agreement_floor"}
    assert not toy.plan(tmp_path, controls="true").suite.evaluate  # one seed has no floor


def test_label_smoothing_of_the_suite_becomes_the_control(tmp_path: Path) -> None:
    methods = "{ls: papers, smooth: {ls: {weight: 1, smoothing: 0.2}}, dkd: papers, kd: papers}"
    plan = toy.plan(tmp_path, **ON, methods=methods)
    assert [method.name for method in plan.suite.methods if method.control] == [
        "ls", "smooth", "untrained-teacher", "longer-training",
    ]  # fmt: skip
    by_name = {method.name: method for method in plan.suite.methods}
    assert by_name["untrained-teacher"].terms == by_name["dkd"].terms  # the first of logits
    assert set(by_name["longer-training"].terms) == {"ce"}
    assert runs_of(plan, "ls") == runs_of(toy.plan(tmp_path, methods="[ls]", seeds="[0, 1]"), "ls")


def test_the_untrained_teacher_has_the_initial_weights_of_the_teacher(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, **ON | {"seeds": "[0]"})
    results = toy.run(plan, tmp_path)
    (run,) = runs_of(plan, "untrained-teacher")
    untrained = plan.runs[plan.runs[run].teacher or ""]
    trained = plan.runs[plan.cells[0].teacher]
    record = results.record(untrained.id)
    assert record is not None
    assert record.name == "untrained resnet8 seed 0"
    assert (untrained.specification.epochs, record.seconds) == (0, 0.0)
    dataset = data.load(plan.suite.data, None, CPU)
    start = Trainer(Task(trained.id, "", trained.specification), dataset, []).net.state_dict()
    weights = Trainer(Task(untrained.id, "", untrained.specification), dataset, []).net
    assert all(torch.equal(start[key], value) for key, value in weights.state_dict().items())
    student = results.record(run)
    assert student is not None
    assert student.teacher is not None
    assert student.teacher.sha256 == record.weights
    table = build.assemble(plan, results).tables[0]
    assert table.rows[0].cells[0].teachers == ()
    assert table.rows[0].cells[0].runs == (trained.id,)
    rows = {row.name: row for row in table.rows}
    longer = rows["longer-training"].cells[0].setting["recipe"]
    assert (longer["epochs"], longer["milestones"]) == (
        3,
        [2],
    )  # 1 of the teacher, 2 of the student
    assert [row.role for row in table.rows] == ["teacher", "student", *["control"] * 3, "method"]
    assert not any(cell.rank or cell.comparison for row in table.rows[2:5] for cell in row.cells)
    frame = tables.records(results.folder)
    roles = dict(zip(frame["method"], frame["role"], strict=True))
    assert roles["untrained-teacher"] == roles["longer-training"] == "control"
    of_frame = tables.table(frame).report.tables[0]
    assert of_frame.rows[0].cells[0].runs == (trained.id,)


def test_longer_training_counts_all_networks_that_teach(tmp_path: Path) -> None:
    pairs = (
        "[{teacher: resnet8, student: resnet14, members: 3}, "
        "{teacher: {pair: resnet8x3/resnet14, method: kd}, student: resnet8}]"
    )
    plan = toy.plan(tmp_path, **ON, pairs=pairs)
    epochs = [
        plan.runs[run].specification.recipe.epochs for run in runs_of(plan, "longer-training")
    ]
    assert epochs == [3 + 2, 3 + 2, 3 + 2 + 2, 3 + 2 + 2]
    untrained = {plan.runs[run].teacher or "" for run in runs_of(plan, "untrained-teacher")}
    networks = {plan.runs[id].specification.network for id in untrained}
    assert networks == {"resnet8", "resnet14"}


def test_an_untrained_teacher_ignores_pretrained_weights(tmp_path: Path) -> None:
    pairs, networks = (
        "[{teacher: 'timm:resnet10t', student: resnet8}]",
        "{'timm:resnet10t': {pretrained: true}}",
    )
    plan = toy.plan(tmp_path, **ON, pairs=pairs, networks=networks)
    (run,) = {plan.runs[run].teacher or "" for run in runs_of(plan, "untrained-teacher")}
    assert not plan.runs[run].specification.pretrained


@pytest.mark.parametrize("method", ["longer-training: papers", "ls: {ce: 1, kd: 1}", "ls: {}"])
def test_a_method_with_the_name_of_a_control_is_refused(tmp_path: Path, method: str) -> None:
    with pytest.raises(ConfigError, match="is the name of a control. Allowed: another name"):
        toy.plan(tmp_path, **ON, methods=f"{{kd: papers, {method}}}")


def test_rendered_and_saved_suites_have_the_same_controls(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, **ON, methods="{ls: papers, kd: {kd: 2}}")
    path = tmp_path / "rendered.yaml"
    path.write_text(text := render(plan.suite))
    again = read(path)
    assert again.methods == plan.suite.methods
    assert render(again).count("controls: true") == text.count("controls: true") == 1
    kept = tmp_path / "plan.json"
    kept.write_text(saved.dump(with_measures(plan)))
    assert saved.load(kept)[0].suite.methods == plan.suite.methods
