"""Nothing inside an epoch asks a device for a number: it would wait for all that it was told."""

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
from bench.execution.protocol import Task
from bench.training import loop
from bench.training.teacher import Teacher
from bench.training.timer import Clock
from bench.training.trainer import Learner
from tests import toy
from tests.training.test_lockstep import EVERY

WAITING = {  # what is computed on the host, or has a shape that depends on values
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "_unique2", "unique_dim",
    "unique_consecutive", "bincount", "repeat_interleave", "lift_fresh",
}  # fmt: skip


FETCHING = {"tolist", "cpu", "numpy", "__array__", "item"}  # which a CPU's tensors do at once


class Fetched(TorchFunctionMode):
    """Notes each call that brings a tensor's numbers to the host."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in FETCHING:
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


class Waited(TorchDispatchMode):
    """Notes each operation for which a GPU would have to be waited."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        chosen = [x for x in (args[1] if name in ("index", "index_put_") else []) if x is not None]
        masked = any(isinstance(x, Tensor) and x.dtype == torch.bool for x in chosen)
        if name in WAITING or masked:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def watch() -> Iterator[list[str]]:
    """What is waited for inside."""
    found: list[str] = []
    with Fetched(found), Waited(found):
        yield found


def cohort(folder: Path, device: torch.device) -> tuple[list[Learner], Teacher, Any]:
    whole = toy.plan(folder, methods=EVERY)
    subject = data.load(whole.suite.data, None, device)
    tasks = [Task(cell.run, cell.name, whole.runs[cell.run].specification) for cell in whole.cells]
    net = models.build("resnet8", subject.facts.classes, subject.facts.size)
    teacher = Teacher(net, subject, tasks[0].specification["recipe"])
    return [Learner(task, subject, teacher.shapes) for task in tasks], teacher, subject


def epochs(learners: list[Learner], teacher: Teacher, subject: Any, count: int) -> None:
    """So many epochs without what is between them."""
    for epoch in range(count):
        stream = loop.batches(subject, 0, epoch, learners[0].recipe)
        loop._epoch(learners, teacher, stream, Clock(subject.train_labels.device))


def test_an_epoch_never_waits_for_its_device(tmp_path: Path) -> None:
    learners, teacher, subject = cohort(tmp_path, torch.device("cpu"))
    with watch() as found:
        epochs(learners, teacher, subject, 2)
    assert len(learners) == 14
    assert [one.failure for one in learners] == [None] * 14
    assert found == []


@pytest.mark.parametrize(
    "wait",
    [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x.any()), Tensor.nonzero,
     Tensor.tolist, Tensor.cpu, Tensor.numpy],
)  # fmt: skip
def test_a_wait_is_seen(wait: Any) -> None:
    with watch() as found:
        wait(torch.ones(3))
    assert found


@pytest.mark.gpu
def test_cuda_finds_no_wait_either(tmp_path: Path) -> None:
    learners, teacher, subject = cohort(tmp_path, torch.device("cuda"))
    epochs(learners, teacher, subject, 1)  # the first step allocates and chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        epochs(learners, teacher, subject, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [one.failure for one in learners] == [None] * 14
