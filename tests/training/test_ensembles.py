"""Ensembles of teachers, and students that teach other students."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from bench import api
from bench.errors import ConfigError
from bench.planning.estimate import estimate
from bench.planning.plan import Plan
from bench.results import Results
from bench.spec import TermSpec
from bench.training.loss import WeightedLoss
from distillers import Batch, Features, Incompatible
from tests import toy
from tests.distillers.geometry import STUDENT, TEACHER, TRAIN_LABELS

ENSEMBLE = "[{teacher: resnet8, members: 2, student: resnet8}]"
CHAIN = """
  - {teacher: resnet14, student: resnet8}
  - {teacher: {pair: resnet14/resnet8, method: kd}, student: resnet8}"""


def names(plan: Plan) -> list[str]:
    return [plan.names()[run] for run in plan.runs]


def test_an_ensemble_is_a_run_after_its_members(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, pairs=ENSEMBLE)
    assert names(plan) == [
        "resnet8 seed 100",
        "resnet8 seed 101",
        "ensemble of 2 resnet8",
        "resnet8x2/resnet8 student seed 0",
        "resnet8x2/resnet8 kd seed 0",
    ]


def test_one_member_is_the_teacher_of_today(tmp_path: Path) -> None:
    pair = "[{teacher: resnet8, members: 1, student: resnet8}]"
    assert toy.plan(tmp_path, pairs=pair).runs.keys() == toy.plan(tmp_path).runs.keys()


def test_an_ensemble_has_a_row_and_its_record_is_its_accuracy(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, pairs=ENSEMBLE, methods="[student, kd, at]")
    results = toy.run(plan, tmp_path)
    assert {record.status for record in results.records()} == {"done"}
    teacher = results.record(plan.cells[0].teacher)
    assert teacher is not None
    assert teacher.kind == "ensemble"
    one = results.record(teacher.specification.members[0])
    assert one is not None
    assert one.network.parameters is not None
    assert teacher.network.parameters == 2 * one.network.parameters
    student = results.record(plan.cells[1].run)
    assert student is not None
    assert student.teacher is not None
    assert (student.teacher.members, student.teacher.sha256) == (2, teacher.weights)


def test_students_of_an_ensemble_are_equal_alone_together_and_interrupted(tmp_path: Path) -> None:
    lines = {"pairs": ENSEMBLE, "methods": "[student, kd, crd, fitnet]"}
    folders = [tmp_path / name for name in ("together", "alone", "interrupted")]
    for folder in folders:
        folder.mkdir()
    together = toy.outcome(toy.plan(tmp_path, **lines), folders[0])
    for method in ("kd", "crd"):
        alone = toy.plan(tmp_path, **lines | {"methods": f"[{method}]"})
        assert toy.outcome(alone, folders[1]) == {method: together[method]}
    plan = toy.plan(tmp_path, **lines)
    toy.run_interrupted(plan, folders[2], stop_after=3)
    assert toy.outcome(plan, folders[2]) == together


def test_the_mean_of_kl_divergences_has_the_gradient_of_the_averaged_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(8, 10, generator=generator, dtype=torch.float64, requires_grad=True)
    teachers = [torch.randn(8, 10, generator=generator, dtype=torch.float64) for _ in range(3)]
    options = {"temperature": 4.0}
    terms = {"kd": TermSpec(weight=1.0, options=options)}
    loss = WeightedLoss(terms, STUDENT, [TEACHER] * 3, TRAIN_LABELS, 0, mean=True)
    seen = [Features((), torch.zeros(8, 1), logits) for logits in teachers]
    batch = Batch(TRAIN_LABELS[:8], torch.arange(8))
    total, _ = loss(Features((), torch.zeros(8, 1), student), seen, batch)
    (mean_of_losses,) = torch.autograd.grad(total, student)
    probabilities = torch.stack([F.softmax(t / 4, dim=1) for t in teachers]).mean(0)
    kl = F.kl_div(F.log_softmax(student / 4, dim=1), probabilities, reduction="batchmean")
    (of_averaged,) = torch.autograd.grad(16 * kl, student)
    torch.testing.assert_close(mean_of_losses, of_averaged)


def test_sum_is_members_times_the_mean(tmp_path: Path) -> None:
    ids = {
        combine: toy.plan(tmp_path, pairs=ENSEMBLE, ensemble=f"{{combine: {combine}}}").cells[1].run
        for combine in ("sum", "mean")
    }
    default = toy.plan(tmp_path, pairs=ENSEMBLE).cells[1].run
    assert ids["sum"] == default != ids["mean"]


def test_each_member_has_its_own_bank_and_head() -> None:
    terms = {"crd": TermSpec(weight=1.0, options={"negatives": 4, "width": 8})}
    loss = WeightedLoss(terms, STUDENT, [TEACHER] * 2, TRAIN_LABELS, 0)
    state = loss.state_dict()
    first = {name for name in state if ".members.0." in name}
    assert first
    for name in first:
        other = state[name.replace(".members.0.", ".members.1.")]
        assert state[name].dim() == 0 or not torch.equal(state[name], other), name


def test_an_impossible_ensemble_is_skipped_in_the_plan(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, pairs=ENSEMBLE, methods="[simkd, ab, kd]")
    errors = [estimate(plan)[cell.run].error for cell in plan.cells]
    assert errors[2] is None
    assert errors[0] == "the head of simkd learns from one teacher, not from 2 members"
    assert (
        errors[1] == "the stage before training of ab learns from one teacher, not from 2 members"
    )


def test_a_student_with_a_head_does_not_teach(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, pairs=CHAIN.replace("kd", "simkd"), methods="[student, simkd]")
    estimates = estimate(plan)
    assert (
        estimates[plan.cells[-1].run].error
        == "its teacher predicts with a head, so it cannot teach"
    )


@pytest.mark.parametrize("name", ["simkd", "ab"])
def test_a_head_or_a_stage_before_training_needs_one_teacher(name: str) -> None:
    terms = {name: TermSpec(weight=1.0)}
    with pytest.raises(Incompatible, match="learns from one teacher, not from 2 members"):
        WeightedLoss(terms, STUDENT, [TEACHER] * 2, TRAIN_LABELS, 0)


def test_a_student_teaches_the_next_student(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, pairs=CHAIN)
    assert [cell.pair.name for cell in plan.cells[::2]] == [
        "resnet14/resnet8",
        "resnet8@kd/resnet8",
    ]
    assistant = next(
        c.run for c in plan.cells if c.pair.name.startswith("resnet14") and c.method.name == "kd"
    )
    assert {c.teacher for c in plan.cells if c.pair.name.startswith("resnet8@")} == {assistant}
    results = toy.run(plan, tmp_path)
    assert [results.record(run).status for run in plan.runs] == ["done"] * 5  # type: ignore[union-attr]
    last = results.record(plan.cells[-1].run)
    assert last is not None
    assert last.teacher is not None
    assert last.teacher.id == assistant


def test_the_teacher_of_a_chain_is_trained_although_its_seed_is_not_in_the_suite(
    tmp_path: Path,
) -> None:
    plan = toy.plan(tmp_path, pairs=CHAIN, seeds="[3]")
    assert "resnet8 ce+kd seed 0" in names(plan)
    select = api.load_plan(tmp_path / "toy.yaml")
    assert names(select) == names(plan)


def test_a_filter_keeps_the_chain_of_teachers(tmp_path: Path) -> None:
    from bench.planning.plan import select

    part = select(toy.plan(tmp_path, pairs=CHAIN), "pair=resnet8@kd/*,method=kd")
    assert names(part) == [
        "resnet14 seed 0", "resnet8 ce+kd seed 0", "resnet8@kd/resnet8 kd seed 0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            "[{teacher: {pair: a, method: kd}, student: resnet8}]",
            "pairs.0.teacher.pair: no pair 'a'. Allowed: a@kd/resnet8",
        ),
        (
            "[{name: a, teacher: {pair: a, method: kd}, student: resnet8}]",
            "learns from itself: a ← a",
        ),
        (
            "[{name: a, teacher: resnet8, student: resnet8}, "
            "{teacher: {pair: a, method: dk}, student: resnet8}]",
            "pairs.1.teacher.method: no method of the suite 'dk'. Allowed: kd, student",
        ),
        (
            "[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: resnet8}]",
            "Allowed: another pair, or a name of its own",
        ),
        ("[{name: 'a|b', teacher: resnet8, student: resnet8}]", "without , | = * ? [ ]"),
        ("[{teacher: resnet8, members: 0, student: resnet8}]", "1 to 100"),
    ],
)
def test_mistakes_in_teachers_are_reported(tmp_path: Path, pairs: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        toy.plan(tmp_path, pairs=pairs)
    assert message in str(error.value)


def test_seeds_of_students_are_not_those_of_members(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 101, which is the seed of an ensemble's member"):
        toy.plan(tmp_path, pairs=ENSEMBLE, seeds="[0, 101]")


def test_weights_of_teaching_students_are_no_leftovers(tmp_path: Path) -> None:
    from bench.results.store import leftovers

    plan = toy.plan(tmp_path, pairs=CHAIN)
    results = toy.run(plan, tmp_path)
    removable = {path.stem for path in leftovers(results, weights=True)}
    taught = {cell.teacher for cell in plan.cells}
    assert removable & taught == set()
    assert {cell.run for cell in plan.cells} - taught <= removable


def test_a_missing_chain_is_trained_again(tmp_path: Path) -> None:
    from bench.execution.runner import pending

    plan = toy.plan(tmp_path, pairs=CHAIN)
    results = toy.run(plan, tmp_path)
    for path in results.folder.glob("weights/*"):
        path.unlink()
    last = plan.cells[-1].run
    Results(results.folder).delete_run(last)
    again = [plan.names()[run.id] for run in pending(plan, results, "never")]
    assert again == [
        "resnet14 seed 0", "resnet14/resnet8 kd seed 0", "resnet8@kd/resnet8 kd seed 0",
    ]  # fmt: skip
