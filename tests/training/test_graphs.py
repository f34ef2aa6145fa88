"""Recorded steps give the numbers of steps that are not: on CUDA, and emulated on a CPU."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import api, data, models, seeding
from bench.api import Machine
from bench.errors import BenchError
from bench.execution import desk
from bench.execution.protocol import Task
from bench.results import Results
from bench.training import cuda_graphs, loop, trainer
from bench.training.cuda_graphs import Call, Record, Replay, Replayed, Still, Unrecordable
from bench.training.teacher import Teacher
from bench.training.trainer import Learner
from distillers import Batch
from tests import toy
from tests.training import replay
from tests.training.test_lockstep import EVERY

CPU = torch.device("cpu")


def trained(
    folder: Path, device: torch.device, record: Record | None, precision: str = "float32"
) -> dict[str, Learner]:
    """All methods, each through three epochs of five batches and a smaller one."""
    whole = toy.plan(folder, methods=EVERY, recipe="{epochs: 3, batch_size: 15, lr: 0.05, "
                     "milestones: [1, 2], crop: 1, flip: false, "
                     f"precision: {precision}}}")  # fmt: skip
    subject = data.load(whole.suite.data, None, device)
    tasks = {
        c.method.name: Task(c.run, c.name, whole.runs[c.run].specification) for c in whole.cells
    }
    with seeding.initialised_by("teacher"):
        net = models.build("resnet8", subject.facts.classes, subject.facts.size)
    teacher = Teacher(net, subject, tasks["kd"].specification["recipe"])
    made = {name: Learner(task, subject, teacher.shapes, record) for name, task in tasks.items()}
    loop.train([*made.values()], teacher, subject, 0, lambda _: None, record)
    return made


def numbers(one: Learner) -> list[Any]:
    assert one.failure is None, one.failure
    known = [(entry["lr"], entry["loss"], entry["terms"], entry["test"]) for entry in one.curves]
    return [known, [x.tolist() for x in one._tensors()]]


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "FUSED", {"cpu", "cuda"})


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Learner]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "FUSED", {"cpu", "cuda"})
        return trained(tmp_path_factory.mktemp("eager"), CPU, None)


def test_a_recorded_cohort_gives_the_numbers_of_one_that_is_not(
    fused: None, eager: dict[str, Learner], tmp_path: Path
) -> None:
    recorded: list[int] = []

    def record(call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        recorded.append(len(streams))
        return replay.record(call, streams)

    found = trained(tmp_path, CPU, record)
    assert len(recorded) == 15, "the teacher and each of the 14 methods"
    assert [numbers(one) for one in found.values()] == [numbers(eager[name]) for name in found]


def test_the_emulation_sees_a_number_that_is_no_tensor(
    fused: None, eager: dict[str, Learner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning rate in Python: replayed steps go on with that of the epoch of the recording."""
    begin = Learner.begin_epoch

    def plain(self: Learner) -> None:
        begin(self)
        for group in self.optimizer.param_groups:
            group["lr"] = float(group["lr"])

    monkeypatch.setattr(Learner, "begin_epoch", plain)
    found = trained(tmp_path, CPU, replay.record)
    assert all(numbers(one) != numbers(eager[name]) for name, one in found.items())


def test_what_cannot_be_recorded_fails_alone(
    fused: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, at last: CUDA is of no use to one in which a recording failed."""

    def record(call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        if len(streams) == 3:  # cross-entropy and two terms
            raise Unrecordable("a wait")
        return replay.record(call, streams)

    recipe = "{epochs: 6, batch_size: 16, lr: 0.05, crop: 1, flip: false}"
    whole = toy.plan(tmp_path, methods="[student, kd, crd+kd, crd]", recipe=recipe)
    expected = toy.run(whole, tmp_path / "eager")
    monkeypatch.setattr(desk, "Cuda", lambda: record)
    monkeypatch.setattr(Machine, "devices", Machine._devices)  # which would refuse a CPU
    results = Results(tmp_path / "recorded")
    api.execute(whole, results, Machine(gpus=(), inline=True, graphs=True))
    found = {cell.method.name: results.record(cell.run) or {} for cell in whole.cells}
    assert found.pop("crd+kd")["reason"] == "a wait"
    for known in found.values():
        assert toy.numbers(known) == toy.numbers(expected.record(known["id"]))


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (RuntimeError("a wait"), Unrecordable, "as a CUDA graph: RuntimeError: a wait"),
        (torch.OutOfMemoryError("all is taken"), torch.OutOfMemoryError, "all is taken"),
    ],
)
def test_what_a_failed_recording_raises(
    error: Exception, raised: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDAGraph", "graph_pool_handle"):
        monkeypatch.setattr(torch.cuda, name, object)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())

    def call() -> None:
        raise error

    with pytest.raises(raised, match=said):
        cuda_graphs.Cuda()(call, [])


@pytest.mark.gpu
def test_on_cuda_a_wait_cannot_be_recorded() -> None:
    x = torch.ones(3, device="cuda")
    with pytest.raises(Unrecordable):
        cuda_graphs.Cuda()(lambda: x.sum().item(), [])


def test_the_same_tensors_are_replayed_and_others_are_not() -> None:
    calls: list[int] = []

    def double(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return x * 2

    replayed, x, other = Replayed(double, replay.record), torch.ones(3), torch.ones(2)
    for value in range(6):
        assert replayed(x.fill_(value)).tolist() == [2 * value] * 3
    assert replayed(other).tolist() == [2, 2]
    assert replayed(x.fill_(9)).tolist() == [18] * 3
    assert calls == [3] * (cuda_graphs.WARM + 1) + [2]


def test_tensors_that_change_are_never_recorded() -> None:
    def refused(call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        raise AssertionError("recorded")

    replayed = Replayed(lambda x: x + 1, refused)
    assert [replayed(torch.tensor(n)).item() for n in range(9)] == [*range(1, 10)]


def test_full_batches_lie_in_the_same_tensors() -> None:
    def batch(size: int) -> tuple[torch.Tensor, Batch]:
        return torch.rand(size, 3, 4, 4), Batch(torch.arange(size), torch.arange(size) + 7)

    still = Still(5)
    first, second, small = batch(5), batch(5), batch(3)
    held = still(*first)
    again = still(*second)
    assert all(a is b for a, b in zip(held, again, strict=True))
    assert held[0] is not first[0]
    assert torch.equal(again[0], second[0])
    assert torch.equal(again[1].index, second[1].index)
    assert all(a is b for a, b in zip(still(*small), small, strict=True))


def test_only_where_there_is_a_gpu_and_one_for_each_run() -> None:
    with pytest.raises(BenchError, match="--cuda-graphs needs a GPU"):
        Machine(gpus=(), graphs=True).devices()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_cuda_recorded_steps_give_the_numbers_of_eager_ones(
    precision: str, tmp_path: Path
) -> None:
    cuda = torch.device("cuda")
    expected = trained(tmp_path, cuda, None, precision)
    found = trained(tmp_path, cuda, cuda_graphs.Cuda(), precision)
    for name, one in found.items():
        assert one.failure is None, (name, one.failure)
        assert one.replayed is not None
        assert one.replayed._replay is not None, name
        losses = [[entry["loss"] for entry in of.curves] for of in (one, expected[name])]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3), name
