"""Memory that saving a cohort needs beyond the cohort's own states."""

import tracemalloc
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, record_function

from bench import data
from bench.data import Selection
from bench.execution.protocol import Job, Task
from bench.execution.worker import JobContext, save_epoch
from bench.training.trainer import Trainer
from tests import toy

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
