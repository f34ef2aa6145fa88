"""Views, teachers with other data, students without labels or training keep the law of training."""

from pathlib import Path

import pytest
import torch

from bench import api, data, models
from bench.data.views import View
from bench.execution.protocol import Task
from bench.overview import describe_plan
from bench.planning.cohorts import cohorts
from bench.planning.estimate import estimate
from bench.planning.plan import Plan, select
from bench.report import ReportOptions, build
from bench.results import Results
from bench.suite import read, render
from bench.training import loop, trainer
from bench.training.evaluation import measure, predict
from bench.training.loop import train_cohort
from bench.training.teacher import Teacher, load
from bench.training.trainer import Trainer
from tests import toy
from tests.training import replay

CPU = torch.device("cpu")
SQUARES = '''
"""Squares of three classes, and squares without labels."""

import torch

from bench.data.base import Arrays, Facts


class Squares:
    facts = Facts(
        name="squares", classes=3, size=8, train=21, test=9, mean=(0.4, 0.5, 0.6),
        std=(0.3, 0.2, 0.25), fingerprint="sha256:squares", unlabelled=40,
    )

    def read(self, root):
        def images(count, seed):
            rng = torch.Generator().manual_seed(seed)
            return torch.randint(256, (count, 3, 8, 8), generator=rng, dtype=torch.uint8)

        labels = torch.arange(21) % 3
        return Arrays(images(21, 0), labels, images(9, 1), labels[:9], lambda: images(40, 2))


DATASETS = {"squares": Squares()}
'''
METHODS = "{random: {}, student: papers, kd: papers, crd: papers, strong: {ce: 1, cestrong: 1}}"
FREE = (
    "{random: {}, kd: {kd: 1}, ce+kd: {ce: 1, kd: 1}, crd: {crd: 1}, "
    "crd-free: {crd: {weight: 1, negatives_from: samples}}}"
)
RECIPE = "{epochs: 2, batch_size: 16, lr: 0.05, milestones: [1], crop: 1, flip: false"
SETTINGS: dict[str, dict[str, str]] = {
    "views": {"views": "{teacher: 'low:4', student: 'noise:0.2'}", "methods": METHODS},
    "few": {
        "dataset": "{name: digits, per_class: 4, test_per_class: 5}",
        "teachers": "{dataset: {name: digits, per_class: 8}, recipe: {epochs: 1}}",
        "methods": METHODS,
        "options": "{crd: {negatives: 16, width: 8}}",
    },
    "label-free": {
        "plugins": "[squares.py]",
        "dataset": "{name: squares, split: unlabelled}",
        "teachers": "{dataset: {name: digits, per_class: 8}, recipe: {epochs: 1}}",
        "methods": FREE,
        "options": "{crd: {negatives: 16, width: 8}}",
        "views": "{teacher: grey, student: ab}",
    },
}
MIXED = {"methods": "{random: {}, kd: {kd: 1}}", "recipe": f"{RECIPE}, mixup: 0.4, cutmix: 1}}"}
SETTINGS["mixed and label-free"] = SETTINGS["label-free"] | MIXED
SKIPPED = {"label-free": {"ce+kd", "crd"}}
ALONE = {"views": ("random", "kd", "crd"), "few": ("crd",), "label-free": ("kd", "crd-free")}


def make_plan(folder: Path, setting: str, **lines: str) -> Plan:
    (folder / "squares.py").write_text(SQUARES)
    return toy.plan(folder, **SETTINGS[setting] | lines)


@pytest.fixture(scope="module", params=SETTINGS)
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Plan, dict[str, str]]:
    folder = tmp_path_factory.mktemp(request.param)
    plan = make_plan(folder, request.param)
    return request.param, plan, toy.outcome(plan, folder)


def test_runs_alone_give_the_same_numbers(
    together: tuple[str, Plan, dict[str, str]], tmp_path: Path
) -> None:
    setting, plan, expected = together
    for method in ALONE.get(setting, ("kd",)):
        numbers = toy.outcome(select(plan, f"method={method}"), tmp_path / method)
        assert numbers == {method: expected[method]}


def test_interrupted_runs_give_the_same_numbers(
    together: tuple[str, Plan, dict[str, str]], tmp_path: Path
) -> None:
    _, plan, expected = together
    toy.run_interrupted(plan, tmp_path, 2)
    assert toy.outcome(plan, tmp_path) == expected


def test_every_possible_method_is_done(together: tuple[str, Plan, dict[str, str]]) -> None:
    setting, plan, numbers = together
    skipped = {name for name, text in numbers.items() if '"skipped"' in text}
    assert skipped == SKIPPED.get(setting, set())
    assert sum('"done"' in text for text in numbers.values()) == len(plan.cells) - len(skipped)


def test_the_default_view_changes_no_id(tmp_path: Path) -> None:
    usual = toy.plan(tmp_path)
    assert list(toy.plan(tmp_path, views="{teacher: rgb, student: rgb}").runs) == list(usual.runs)
    pairs = "[{teacher: resnet8, student: resnet8, views: {student: rgb}}]"
    assert list(toy.plan(tmp_path, pairs=pairs).runs) == list(usual.runs)


def test_pairs_with_other_views_are_other_runs_in_other_cohorts(tmp_path: Path) -> None:
    networks = "teacher: resnet8, student: resnet8"
    pairs = f"[{{{networks}}}, {{{networks}, views: {{student: 'low:4'}}}}, "
    pairs += f"{{{networks}, views: {{teacher: 'low:4', student: 'low:4'}}}}]"
    plan = toy.plan(tmp_path, pairs=pairs)
    assert list(dict.fromkeys(cell.pair.name for cell in plan.cells)) == [
        "resnet8/resnet8", "resnet8/resnet8@low:4", "resnet8@low:4/resnet8@low:4",
    ]  # fmt: skip
    assert len(plan.runs) == 2 + 3 * 2
    assert len({cell.teacher for cell in plan.cells}) == 2
    assert len(cohorts(plan.runs.values())) == 2 + 3


def test_a_rendered_suite_has_the_same_views_and_data(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "label-free", pairs="[{teacher: resnet8, student: resnet8, views: "
                     "{student: {channels: [0, 2]}}}]")  # fmt: skip
    path = tmp_path / "again.yaml"
    path.write_text(render(plan.suite))
    again = read(path)
    assert again.pairs == plan.suite.pairs
    assert again.pairs[0].name == "resnet8/resnet8@channels:0+2"
    assert (again.data, again.teacher_data) == (plan.suite.data, plan.suite.teacher_data)
    assert list(api.load_plan(path).runs) == list(plan.runs)


def test_the_teacher_is_evaluated_on_its_own_view(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "views", methods="[kd]")
    results = toy.run(plan, tmp_path)
    student, teacher = (results.record(plan.cells[0].run), results.record(plan.cells[0].teacher))
    assert student is not None
    assert teacher is not None
    dataset = data.load(plan.suite.data, None, CPU)
    logits = []
    for record in (student, teacher):
        net = load(record.network.name, dataset.facts, results.weights(record.id))
        view = View(record.specification.view, dataset.facts, CPU)
        logits.append(predict(net, dataset, "test", plan.suite.recipe, view))
    (seen, labels), (taught, _) = logits
    assert measure(seen, labels, taught) == student.metrics["last"]
    assert measure(taught, labels) == teacher.metrics["last"]


def test_captured_steps_read_both_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "FUSED", {"cpu", "cuda"})
    plan = make_plan(tmp_path, "views")
    dataset = data.load(plan.suite.data, None, CPU)
    tasks = [Task(c.run, c.name, plan.runs[c.run].specification) for c in plan.cells]
    tasks = [task for task in tasks if task.name.split()[1] in ("kd", "strong")]
    numbers = []
    for capture in (None, replay.capture):
        torch.manual_seed(0)
        net = models.build("resnet8", dataset.facts.classes, dataset.facts.size)
        recipe = tasks[0].specification.recipe
        teacher = Teacher([net], dataset, recipe, view=View("low:4", dataset.facts, CPU))
        runs = [Trainer(task, dataset, teacher.shapes) for task in tasks]
        for run in runs:
            run.recipe = run.recipe.model_copy(update={"batch_size": 8})
            run.graphed = (
                loop.GraphedStep(run.descend, capture, run.loss.streams) if capture else None
            )
        train_cohort(runs, teacher, dataset, lambda _: None, capture)
        assert all(run.graphed is None or run.graphed.captured for run in runs)
        numbers.append([x.tolist() for run in runs for x in run.net.state_dict().values()])
    assert numbers[0] == numbers[1]


def test_an_untrained_student_keeps_its_initial_weights(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="{random: {}}")
    results = toy.run(plan, tmp_path)
    record = results.record(plan.cells[0].run)
    assert record is not None
    assert record.specification.epochs == 0
    assert [epoch.epoch for epoch in record.curves] == [0]
    dataset = data.load(plan.suite.data, None, CPU)
    initial = Trainer(Task(record.id, "", record.specification), dataset, None)
    net = load("resnet8", dataset.facts, results.weights(record.id))
    for name, tensor in initial.net.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])
    assert not results.state(record.id).exists()
    assert set(record.metrics["last"]) >= {"top1", "agreement"}


def test_students_without_labels_agree_with_the_teacher_and_have_no_accuracy(
    tmp_path: Path,
) -> None:
    plan = make_plan(tmp_path, "label-free", methods="{kd: {kd: 1}, ce: {ce: 1}, crd: {crd: 1}}")
    kd, ce, crd = (cell.run for cell in plan.cells)
    estimates = estimate(plan)
    assert estimates[kd].error is None
    assert "ce needs labels in the teacher's classes" in str(estimates[ce].error)
    assert "or crd: {negatives_from: samples}" in str(estimates[crd].error)
    results = toy.run(select(plan, "method=kd"), tmp_path)
    record = results.record(kd)
    assert record is not None
    assert set(record.metrics["last"]) == {"agreement", "kl"}
    assert record.specification.data.split == "unlabelled"
    net = load("resnet8", plan.facts, results.weights(kd))
    assert net(torch.zeros(2, 3, 8, 8)).logits.shape == (2, 10), "the teacher's classes"
    table = build.assemble(plan, results).tables[0]
    assert table.metric.name == "agreement", "the default metric of students without labels"
    [*_, cell] = [cell for cell in table.cells if cell.method == "kd"]
    assert cell.measured is not None
    top1 = build.assemble(plan, results, ReportOptions("top1")).tables[0]
    assert "because its images have no labels; see --metric agreement" in str(top1.notes)
    assert "Cross-modal transfer: the teacher sees grey images, and the student" in str(
        table.caption
    )
    assert "Students train for 6 steps" in str(table.caption)


def test_few_samples_are_told_in_the_caption_and_the_plan(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "few", views="{student: 'low:4'}")
    results = Results(tmp_path / "none")
    caption = str(build.assemble(plan, results).tables[0].caption)
    for phrase in (
        "Teachers are trained and tested on scikit-learn's digits, only 8 training images per",
        "Students train for 6 steps",
        "Privileged information: the teacher sees RGB images, and the student sees images reduced",
    ):
        assert phrase in caption
        assert any(phrase[1:] in line for line in describe_plan(plan, results)["experiment"])
    training = [plan.runs[cell.run].specification.data.per_class for cell in plan.cells]
    assert set(training) == {4}
    assert {run.specification.data.per_class for run in plan.runs.values() if not run.teacher} == {
        8
    }
