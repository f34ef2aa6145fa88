"""Captured steps give the numbers of steps without graphs: on CUDA, and emulated on a CPU."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import api, data, models, seeding
from bench.api import Machine
from bench.errors import BenchError
from bench.execution import worker
from bench.execution.protocol import Task
from bench.results import Results
from bench.training import trainer
from bench.training.cuda_graphs import (
    WARMUP_CALLS,
    Call,
    Capture,
    CaptureError,
    CudaCapture,
    GraphedStep,
    Replay,
    StaticBatch,
    Views,
)
from bench.training.loop import train_cohort
from bench.training.teacher import Teacher
from bench.training.trainer import Trainer
from distillers import Batch
from tests import toy
from tests.training import replay
from tests.training.test_lockstep import EVERY

CPU = torch.device("cpu")


def train_all_methods(
    folder: Path, device: torch.device, capture: Capture | None, precision: str = "float32"
) -> dict[str, Trainer]:
    """Train every method for three epochs of five full batches and a smaller one."""
    plan = toy.plan(folder, methods=EVERY, recipe="{epochs: 3, batch_size: 15, lr: 0.05, "
                    "milestones: [1, 2], crop: 1, flip: false, "
                    f"precision: {precision}}}")  # fmt: skip
    dataset = data.load(plan.suite.data, None, device)
    tasks = {
        cell.method.name: Task(cell.run, cell.name, plan.runs[cell.run].specification)
        for cell in plan.cells
    }
    with seeding.initialised_by("teacher"):
        net = models.build("resnet8", dataset.facts.classes, dataset.facts.size)
    teacher = Teacher([net], dataset, tasks["kd"].specification.recipe)
    trainers = {
        name: Trainer(task, dataset, teacher.shapes, capture) for name, task in tasks.items()
    }
    train_cohort([*trainers.values()], teacher, dataset, lambda _: None, capture)
    return trainers


def numbers(run: Trainer) -> list[Any]:
    """Curves without times, and everything that training changes."""
    assert run.failure is None, run.failure
    curves = [(epoch.lr, epoch.loss, epoch.terms, epoch.test) for epoch in run.curves]
    tensors = [
        *run.net.state_dict().values(),
        *run.loss.state_dict().values(),
        *(buffer for state in run.optimizer.state.values() for buffer in state.values()),
    ]
    return [curves, [x.tolist() for x in tensors if isinstance(x, torch.Tensor)]]


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "FUSED", {"cpu", "cuda"})


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trainer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "FUSED", {"cpu", "cuda"})
        return train_all_methods(tmp_path_factory.mktemp("eager"), CPU, None)


@pytest.mark.slow
def test_captured_cohort_gives_the_numbers_of_an_eager_one(
    fused: None, eager: dict[str, Trainer], tmp_path: Path
) -> None:
    captures: list[int] = []

    def capture(call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        captures.append(len(streams))
        return replay.capture(call, streams)

    captured = train_all_methods(tmp_path, CPU, capture)
    assert len(captures) == 15, "the teacher and each of the 14 methods"
    for name, run in captured.items():
        assert numbers(run) == numbers(eager[name]), name


@pytest.mark.slow
def test_emulation_detects_a_python_number_that_changes(
    fused: None, eager: dict[str, Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the learning rate in Python, replayed steps keep the rate of the captured epoch."""
    begin = Trainer.begin_epoch

    def begin_with_python_rate(self: Trainer) -> None:
        begin(self)
        for group in self.optimizer.param_groups:
            group["lr"] = float(group["lr"])

    monkeypatch.setattr(Trainer, "begin_epoch", begin_with_python_rate)
    captured = train_all_methods(tmp_path, CPU, replay.capture)
    assert all(numbers(run) != numbers(eager[name]) for name, run in captured.items())


@pytest.mark.slow
def test_run_that_cannot_be_captured_fails_alone(
    fused: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cohort is split until that run has a process of its own."""

    def capture(call: Call, streams: Sequence[torch.Generator]) -> tuple[Any, Replay]:
        if len(streams) == 3:  # cross-entropy and two terms
            raise CaptureError("a wait")
        return replay.capture(call, streams)

    recipe = "{epochs: 6, batch_size: 16, lr: 0.05, crop: 1, flip: false}"
    plan = toy.plan(tmp_path, methods="[student, kd, crd+kd, crd]", recipe=recipe)
    expected = toy.run(plan, tmp_path / "eager")
    monkeypatch.setattr(worker, "CudaCapture", lambda: capture)
    monkeypatch.setattr(Machine, "devices", lambda machine: ["cpu"])
    results = Results(tmp_path / "captured")
    api.execute(plan, results, Machine(gpus=(), inline=True, graphs=True))
    records = {cell.method.name: results.record(cell.run) for cell in plan.cells}
    assert records.pop("crd+kd").reason == "a wait"
    for record in records.values():
        assert toy.numbers(record) == toy.numbers(expected.record(record.id))


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (RuntimeError("a wait"), CaptureError, "as a CUDA graph: RuntimeError: a wait"),
        (torch.OutOfMemoryError("memory is full"), torch.OutOfMemoryError, "memory is full"),
    ],
)
def test_failed_capture_raises_capture_error_unless_memory_ran_out(
    error: Exception, raised: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDAGraph", "graph_pool_handle"):
        monkeypatch.setattr(torch.cuda, name, object)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())

    def call() -> None:
        raise error

    with pytest.raises(raised, match=message):
        CudaCapture()(call, [])


@pytest.mark.gpu
def test_cuda_cannot_capture_a_wait() -> None:
    x = torch.ones(3, device="cuda")
    with pytest.raises(CaptureError):
        CudaCapture()(lambda: x.sum().item(), [])


def test_graph_is_replayed_only_with_the_captured_tensors() -> None:
    calls: list[int] = []

    def double(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return x * 2

    step, x, smaller = GraphedStep(double, replay.capture), torch.ones(3), torch.ones(2)
    for value in range(6):
        assert step(x.fill_(value)).tolist() == [2 * value] * 3
    assert step.captured
    assert step(smaller).tolist() == [2, 2]
    assert step(x.fill_(9)).tolist() == [18] * 3
    assert calls == [3] * (WARMUP_CALLS + 1) + [2]


def test_calls_with_different_tensors_are_never_captured() -> None:
    step = GraphedStep(lambda x: x + 1, replay.capture)
    assert [step(torch.tensor(n)).item() for n in range(9)] == [*range(1, 10)]
    assert not step.captured


def test_full_batches_are_copied_into_the_same_tensors() -> None:
    def batch(size: int, *, strong: bool = True) -> Views:
        targets = torch.rand(size, 7)
        labels = Batch(torch.arange(size), torch.arange(size) + 7, targets=targets)
        images = torch.rand(size, 3, 4, 4)
        second = torch.rand(size, 3, 4, 4) if strong else None
        return Views(images, labels, second, images, second)

    static = StaticBatch(5)
    first, second, small = batch(5), batch(5), batch(3)
    before = static(first)
    after = static(second)
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert before[0] is not first[0]
    assert torch.equal(after[0], second[0])
    assert torch.equal(after[1].index, second[1].index)
    assert after.taught is after.images
    assert torch.equal(after[1].targets, second[1].targets)
    assert after[2] is before[2]
    assert [view.tolist() for view in (after[2],) if view is not None] == [second[2].tolist()]  # type: ignore[union-attr]
    assert all(a is b for a, b in zip(static(small), small, strict=True))
    assert static(batch(5, strong=False))[:2] == before[:2]
    assert static(batch(5))[2] is before[2]


def test_cuda_graphs_need_a_gpu() -> None:
    with pytest.raises(BenchError, match="--cuda-graphs"):
        Machine(gpus=(), graphs=True).devices()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_captured_steps_on_cuda_give_the_numbers_of_eager_steps(
    precision: str, tmp_path: Path
) -> None:
    cuda = torch.device("cuda")
    expected = train_all_methods(tmp_path, cuda, None, precision)
    captured = train_all_methods(tmp_path, cuda, CudaCapture(), precision)
    for name, run in captured.items():
        assert run.failure is None, (name, run.failure)
        assert run.graphed is not None
        assert run.graphed.captured, name
        losses = [epoch.loss for epoch in run.curves]
        assert losses == pytest.approx([e.loss for e in expected[name].curves], rel=1e-3), name
