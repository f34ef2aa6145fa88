"""A training step never waits for its device: that would stop the host from running ahead."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench import data, models
from bench.data import Data
from bench.execution.protocol import Task
from bench.training.loop import batches, train_epoch
from bench.training.teacher import Teacher
from bench.training.trainer import Timer, Trainer
from tests import toy
from tests.training.test_lockstep import EVERY

HOST_OPERATIONS = {  # computed on the host, or with a shape that depends on values
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "_unique2", "unique_dim",
    "unique_consecutive", "bincount", "repeat_interleave", "lift_fresh",
}  # fmt: skip
HOST_COPIES = {"tolist", "cpu", "numpy", "__array__", "item"}  # on a CPU without an operation


class RecordCopies(TorchFunctionMode):
    """Records each call that copies a tensor to the host."""

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in HOST_COPIES:
            self.waits.append(func.__name__)
        return func(*args, **(kwargs or {}))


class RecordOperations(TorchDispatchMode):
    """Records each operation for which the host would wait for a GPU."""

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put_") else []
        masked = any(isinstance(x, Tensor) and x.dtype == torch.bool for x in indices)
        if name in HOST_OPERATIONS or masked:
            self.waits.append(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def record_waits() -> Iterator[list[str]]:
    waits: list[str] = []
    with RecordCopies(waits), RecordOperations(waits):
        yield waits


def cohort(folder: Path, device: torch.device) -> tuple[list[Trainer], Teacher, Data]:
    plan = toy.plan(folder, methods=EVERY)
    dataset = data.load(plan.suite.data, None, device)
    tasks = [Task(cell.run, cell.name, plan.runs[cell.run].specification) for cell in plan.cells]
    net = models.build("resnet8", dataset.facts.classes, dataset.facts.size)
    teacher = Teacher([net], dataset, tasks[0].specification.recipe)
    return [Trainer(task, dataset, teacher.shapes) for task in tasks], teacher, dataset


def train(trainers: list[Trainer], teacher: Teacher, dataset: Data, epochs: int) -> None:
    """Train some epochs, without the work between epochs."""
    for epoch in range(epochs):
        stream = batches(dataset, 0, epoch, trainers[0].recipe)
        train_epoch(trainers, teacher, stream, Timer(dataset.train_labels.device))


def test_no_method_waits_for_the_device(tmp_path: Path) -> None:
    trainers, teacher, dataset = cohort(tmp_path, torch.device("cpu"))
    with record_waits() as waits:
        train(trainers, teacher, dataset, 2)
    assert len(trainers) == 14
    assert [trainer.failure for trainer in trainers] == [None] * 14
    assert waits == []


@pytest.mark.parametrize(
    "wait",
    [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x.any()), Tensor.nonzero,
     Tensor.tolist, Tensor.cpu, Tensor.numpy],
)  # fmt: skip
def test_wait_is_detected(wait: Any) -> None:
    with record_waits() as waits:
        wait(torch.ones(3))
    assert waits


@pytest.mark.gpu
def test_cuda_detects_no_wait_either(tmp_path: Path) -> None:
    trainers, teacher, dataset = cohort(tmp_path, torch.device("cuda"))
    train(trainers, teacher, dataset, 1)  # the first step allocates memory and chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        train(trainers, teacher, dataset, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [trainer.failure for trainer in trainers] == [None] * 14
