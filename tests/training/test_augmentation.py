"""Stronger augmentation, mixed images and the strong view keep the law of training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import distillers
from bench import api, data, models, suite
from bench.execution.protocol import Task
from bench.planning.estimate import estimate
from bench.planning.plan import Plan, select
from bench.report.caption import pair_deviation
from bench.spec import DataSpec, TermSpec
from bench.training import loop, trainer
from bench.training.loop import batches, train_cohort
from bench.training.loss import WeightedLoss
from bench.training.teacher import Teacher
from bench.training.trainer import Trainer
from distillers import Incompatible
from tests import toy
from tests.distillers.geometry import BATCH, STUDENT, TEACHER, TRAIN_LABELS, K, S, T, build
from tests.soak import some
from tests.training import replay
from tests.training.test_waits import record_waits

PLUGIN = '''
"""Distillers that read the strong view, and the labels."""

import torch.nn.functional as F

from distillers import Distiller


class Strong(Distiller):
    """L = KL(p_t || p_s) of the strong view."""

    paper = "Nobody. A Loss of the Strong View. 2026"
    reads = ("logits", "strong")

    def forward(self, student, teacher, batch):
        log_p, q = student.strong.logits.log_softmax(1), teacher.strong.logits.softmax(1)
        return F.kl_div(log_p, q, reduction="batchmean") + 0 * student.logits.sum()


class Later(Strong):
    """L = KL(p_t || p_s) of the strong view, read from the index."""

    paper = "Nobody. A Loss that Reads the Index. 2026"

    def forward(self, student, teacher, batch):
        return super().forward(student, teacher, batch) + 0 * batch.index.sum()
'''
METHODS = (
    "{student: papers, kd: papers, ls: papers, deit: papers, funmatch: papers, "
    "strong: {ce: 1, strong: 1}}"
)
BASE = "epochs: 2, batch_size: 16, lr: 0.05, milestones: [1], crop: 1, flip: false"
KEYS = {
    "none": "", "randaugment": "randaugment: 9", "erasing": "erasing: 0.5", "mixup": "mixup: 0.8",
    "cutmix": "cutmix: 1", "smoothing": "smoothing: 0.1",
    "all": "randaugment: 9, erasing: 0.25, mixup: 0.8, cutmix: 1.0, smoothing: 0.1",
}  # fmt: skip


def make_plan(folder: Path, keys: str, methods: str = METHODS) -> Plan:
    (folder / "views.py").write_text(PLUGIN)
    recipe = f"{{{BASE}{', ' if keys else ''}{keys}}}"
    return toy.plan(folder, methods=methods, plugins="[views.py]", recipe=recipe)


@pytest.fixture(scope="module", params=some(list(KEYS), 2))
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Plan, dict[str, str]]:
    folder = tmp_path_factory.mktemp(request.param)
    plan = make_plan(folder, KEYS[request.param])
    return plan, toy.outcome(plan, folder)


@pytest.mark.soak
def test_every_method_is_done(together: tuple[Plan, dict[str, str]]) -> None:
    assert len(together[1]) == 6
    assert all('"done"' in text for text in together[1].values())
    assert len(set(together[1].values())) == 6


@pytest.mark.soak
@pytest.mark.parametrize("methods", ["student", "strong", "kd|ls|deit|funmatch"])
def test_alone_and_together_give_the_same_numbers(
    together: tuple[Plan, dict[str, str]], methods: str, tmp_path: Path
) -> None:
    plan, expected = together
    numbers = toy.outcome(select(plan, f"method={methods}"), tmp_path)
    assert numbers == {name: expected[name] for name in methods.split("|")}


@pytest.mark.soak
def test_interrupted_cohort_gives_the_same_numbers(
    together: tuple[Plan, dict[str, str]], tmp_path: Path
) -> None:
    plan, expected = together
    toy.run_interrupted(plan, tmp_path, 4)
    assert toy.outcome(plan, tmp_path) == expected


def test_each_key_changes_the_numbers_and_the_id(tmp_path: Path) -> None:
    plans = [make_plan(tmp_path, keys, "[student]") for keys in KEYS.values()]
    assert len({plan.cells[0].run for plan in plans}) == len(KEYS)
    numbers = {str(toy.outcome(plan, tmp_path / str(i))) for i, plan in enumerate(plans)}
    assert len(numbers) == len(KEYS)


def cohort(folder: Path, keys: str, *names: str) -> tuple[list[Trainer], Teacher, Any]:
    plan = make_plan(folder, keys)
    dataset = data.load(plan.suite.data, None, torch.device("cpu"))
    registry = plan.suite.registry
    tasks = {c.method.name: Task(c.run, c.name, plan.runs[c.run].specification) for c in plan.cells}
    torch.manual_seed(0)
    net = models.build("resnet8", dataset.facts.classes, dataset.facts.size)
    teacher = Teacher([net], dataset, tasks["kd"].specification.recipe)
    runs = [Trainer(tasks[n], dataset, teacher.shapes, registry=registry) for n in names]
    return runs, teacher, dataset


def test_the_strong_view_is_made_only_while_a_run_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[tuple[str, ...]] = []
    compute = Trainer.step

    def step(self: Trainer, images: Tensor, teacher: Any, batch: Any, strong: Any = None) -> None:
        fields = ("teacher", str(teacher[0].strong is not None)) if teacher else ()
        views.append((*self.names, str(strong is not None), *fields))
        compute(self, images, teacher, batch, strong)

    monkeypatch.setattr(Trainer, "step", step)
    runs, teacher, dataset = cohort(tmp_path, "", "student", "kd", "strong")
    train_cohort(runs, teacher, dataset, lambda _: None)
    assert set(views) == {
        ("ce", "False"), ("ce", "kd", "False", "teacher", "True"),
        ("ce", "strong", "True", "teacher", "True"),
    }  # fmt: skip
    views.clear()
    train_cohort(cohort(tmp_path, "", "kd")[0], teacher, dataset, lambda _: None)
    assert set(views) == {("ce", "kd", "False", "teacher", "False")}


def test_strong_batches_have_the_images_of_other_batches(tmp_path: Path) -> None:
    runs, _, dataset = cohort(tmp_path, KEYS["all"], "student")
    recipe = runs[0].recipe
    weak = list(batches(dataset, 0, 1, recipe))
    both = list(batches(dataset, 0, 1, recipe, strong=True))
    assert all(views.strong is None for views in weak)
    for (images, batch, *_), (same, same_batch, strong, *_) in zip(weak, both, strict=True):
        assert torch.equal(images, same)
        assert torch.equal(batch.targets, same_batch.targets)
        assert strong is not None
        assert strong.shape == images.shape
        assert not torch.equal(strong, images)


def test_captured_steps_read_mixed_images_and_the_strong_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "FUSED", {"cpu", "cuda"})
    weights = []
    for capture in (None, replay.capture):
        runs, teacher, dataset = cohort(tmp_path, KEYS["all"], "kd", "strong")
        for run in runs:
            run.recipe = run.recipe.model_copy(update={"batch_size": 8})
            run.graphed = (
                loop.GraphedStep(run.descend, capture, run.loss.streams) if capture else None
            )
        train_cohort(runs, teacher, dataset, lambda _: None, capture)
        assert [run.failure for run in runs] == [None, None]
        assert all(run.graphed is None or run.graphed.captured for run in runs)
        weights.append([x.tolist() for run in runs for x in run.net.state_dict().values()])
    assert weights[0] == weights[1]


def test_no_step_waits_for_the_device(tmp_path: Path) -> None:
    names = ("student", "kd", "ls", "deit", "funmatch", "strong")
    runs, teacher, dataset = cohort(tmp_path, KEYS["all"], *names)
    for run in runs:
        run.begin_epoch()
    passes = loop.TeacherPasses(teacher, None).of(runs, 0)
    stream = batches(dataset, 0, 0, runs[0].recipe, strong=True)
    next(stream)  # draws the operations of the epoch
    with record_waits() as waits:
        for images, batch, strong, *taught in stream:
            features = passes(*taught)
            for run in runs:
                run.step(images, features, batch, strong if "strong" in run.reads else None)
    assert set(waits) <= {"aten.lift_fresh.default"}, "only of NumPy's numbers, on the CPU"


NEEDS = [name for name in distillers.names() if distillers.load(name).needs_labels]


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_a_loss_that_needs_labels_is_skipped_in_plan_and_training(
    key: str, name: str, tmp_path: Path
) -> None:
    plan = make_plan(tmp_path, KEYS[key], f"{{{name}: {{ce: 1, {name}: 1}}, kd: papers}}")
    reason = f"{name} needs the label or the index of each image, which mixed images do not have"
    run = plan.cells[0].run
    error = estimate(plan)[run].error
    assert error is not None
    assert error.startswith(reason)
    with pytest.raises(Incompatible, match=reason):
        WeightedLoss(
            {name: TermSpec(weight=1.0)}, STUDENT, [TEACHER], TRAIN_LABELS, 0, images={"mixed"}
        )
    record = toy.run(plan, tmp_path).record(run)
    assert record is not None
    assert (record.status, str(record.reason).startswith(reason)) == ("skipped", True)


def test_smoothing_alone_excludes_no_loss(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, KEYS["smoothing"], "[crd]")
    assert [entry.error for entry in estimate(plan).values()] == [None, None]


def test_an_undeclared_read_of_the_index_names_the_attribute(tmp_path: Path) -> None:
    methods = "{later: {ce: 1, later: 1}}"
    done = make_plan(tmp_path, "", methods)
    assert toy.run(done, tmp_path).record(done.cells[0].run).status == "done"  # type: ignore[union-attr]
    plan = make_plan(tmp_path, KEYS["mixup"], methods)
    record = toy.run(plan, tmp_path).record(plan.cells[0].run)
    assert record is not None
    assert record.status == "failed"
    assert "batch.index does not exist, because the recipe mixes images" in str(record.reason)
    assert "`needs_labels = True`" in str(record.reason)


def test_cross_entropy_uses_the_targets() -> None:
    targets = torch.softmax(torch.randn(len(BATCH.labels), K), 1)
    batch = replace(BATCH, targets=targets)
    expected = -(targets * S.logits.log_softmax(1)).sum(1).mean()
    assert torch.allclose(build(distillers.load("ce"), 0)(S, T, batch), expected)
    smoothed = 0.9 * targets + 0.1 / K
    expected = -(smoothed * S.logits.log_softmax(1)).sum(1).mean()
    assert torch.allclose(build(distillers.load("ls"), 0)(S, T, batch), expected)
    one_hot = torch.nn.functional.one_hot(BATCH.labels, K).to(S.logits.dtype)
    same = build(distillers.load("ce"), 0)(S, T, replace(BATCH, targets=one_hot))
    assert torch.allclose(same, build(distillers.load("ce"), 0)(S, T, BATCH))


def test_hard_distillation_is_the_cross_entropy_with_the_teachers_class() -> None:
    loss = build(distillers.load("hard"), 0)(S, T, BATCH)
    rows = range(len(BATCH.labels))
    log_p = S.logits.log_softmax(1)
    assert loss == pytest.approx(
        float(-sum(log_p[i, T.logits[i].argmax()] for i in rows) / len(rows))
    )


def test_later_keys_are_rendered_and_said_in_tables(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, KEYS["all"])
    (tmp_path / "shown.yaml").write_text(suite.render(plan.suite))
    assert list(api.load_plan(tmp_path / "shown.yaml").runs) == list(plan.runs)
    text = pair_deviation(DataSpec(name="cifar100"), plan.suite.pairs[0].recipe, "resnet8")
    assert "randaugment 9 (papers: 0), erasing 0.25 (papers: 0), mixup 0.8 (papers: 0)" in text
    plain = make_plan(tmp_path, "").suite.pairs[0].recipe
    text = pair_deviation(DataSpec(name="cifar100"), plain, "resnet8")
    assert "mixup" not in text
