"""Memory of a cohort: what its steps leave behind, and what saving its states needs."""

import gc
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from bench import data
from bench.data import Selection
from bench.execution.protocol import Job, Task
from bench.execution.worker import JobContext, save_epoch
from bench.training import loop
from bench.training.trainer import Trainer
from tests import toy
from tests.training.test_lockstep import EVERY
from tests.training.test_modern import NEW

SAVING = "saving the cohort"
RUNS = 6


def peak_of_tensors(save: object) -> int:
    """Return the peak of the bytes of tensors that are allocated while a function runs."""
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True) as profiler, record_function(SAVING):
        save()  # type: ignore[operator]
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    live, peak = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.slow
def test_steps_leave_no_tensor_to_the_garbage_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the features of many batches stay in memory until it runs."""
    train_epoch, methods, left = loop.train_epoch, [], []

    def watched(trainers: Sequence[Trainer], *others: Any) -> None:
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        train_epoch(trainers, *others)
        gc.collect()
        gc.set_debug(0)
        methods.extend(trainer.names for trainer in trainers if not trainer.failure)
        left.extend(item.shape for item in gc.garbage if isinstance(item, Tensor))
        gc.garbage.clear()

    monkeypatch.setattr(loop, "train_epoch", watched)
    plan = toy.plan(
        tmp_path, methods=f"[{EVERY.strip('[]')}, {', '.join(NEW)}]", teachers="{}",
        recipe="{epochs: 1, batch_size: 40, crop: 1, flip: false}",
    )  # fmt: skip
    toy.run(plan, tmp_path)
    assert len(methods) > 60
    assert left == []


def test_saving_a_cohort_copies_the_states_of_one_run_at_a_time(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, seeds=f"[{', '.join(map(str, range(RUNS)))}]", methods="[student]")
    runs = [run for run in plan.runs.values() if run.kind == "student"]
    tasks = tuple(Task(run.id, run.id, run.specification) for run in runs)
    images = data.load(Selection("digits", per_class=8), None, data.torch.device("cpu"))
    context = JobContext(
        Job("j", tasks, None, "cpu", 1, str(tmp_path / "r"), "digits", None), lambda event: None
    )
    trainers = [Trainer(task, images, []) for task in tasks]
    for trainer in trainers:
        trainer.begin_epoch()
        for pictures, batch in images.epoch(0, 0, 64, data.Augment(0, False)):
            trainer.step(pictures, (), batch)
        trainer.end_epoch(0.0)
    checkpoint = len(trainers[0].checkpoint())

    def save() -> None:
        for trainer in trainers:
            save_epoch(context, trainer)

    tensors = peak_of_tensors(save)
    tracemalloc.start()
    save()
    _, content = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(trainers) == RUNS
    assert len(list(tmp_path.glob("r/state/*"))) == RUNS
    assert 0.9 * checkpoint < tensors < 1.1 * checkpoint  # one copy on the host
    assert content < 3 * checkpoint
