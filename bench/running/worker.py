"""A cohort, from its job to its records. `python -m bench.running.worker` takes a job on its input.

A worker writes weights and the state of runs under way. Records it hands to its parent, as events.
"""

import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from bench import data, models, plugins
from bench.data import Data, Selection
from bench.environment import environment, now
from bench.errors import BenchError
from bench.job import Emit, Event, Job, Status, Task
from bench.results import Results, sha256, verify, write_whole
from bench.training import lockstep, metrics
from bench.training import teacher as teachers
from bench.training.inference import predict
from bench.training.learner import Learner
from bench.training.teacher import Teacher
from distillers import Incompatible


def work(job: Job, emit: Emit) -> None:
    """Do a job: every task ends in one `record` event, whatever happens to the others."""
    prepare(job)
    desk = Desk(job, emit)
    try:
        if job.tasks[0].checkpoint is not None:
            desk.adopt(job.tasks[0])
        else:
            desk.train(job.tasks)
    except BenchError as error:
        for task in job.tasks:
            desk.report(task, "failed", str(error))


def prepare(job: Job) -> None:
    """Settings of this process that results may depend on: threads, and float32 as it is stated."""
    torch.set_num_threads(job.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    plugins.load_installed()
    for path in job.plugins:
        plugins.load(Path(path))


class Desk:
    """Where one job is worked on: its data, its teacher, its files, and what is told the parent."""

    def __init__(self, job: Job, emit: Emit) -> None:
        self.job, self.emit = job, emit
        self.results = Results(Path(job.results))
        self.device = torch.device(job.device)
        self.started = now()

    def data(self) -> Data:
        """The data set of all the job's tasks, on the device."""
        of = self.job.tasks[0].specification["data"]
        held = {name: value for name, value in of.items() if name not in ("fingerprint", "source")}
        root = Path(self.job.data_root) if self.job.data_root else None
        return data.load(Selection(**held), root, self.device)

    def adopt(self, task: Task) -> None:
        """Make a teacher of a checkpoint: checked by sum and by accuracy, then kept as weights."""
        of, manifest = task.specification, task.checkpoint or {}
        path = Path(manifest["path"])
        verify(path, of["checkpoint"])
        subject = self.data()
        net = teachers.load(of["network"], subject.facts, path).to(self.device)
        found = metrics.measure(*predict(net, subject, "test", of["recipe"]))
        teachers.check_accuracy(path, found["top1"], manifest)
        cost = models.cost(net, subject.facts.size)
        self.keep(task, net)
        self.report(task, "done", None, network=asdict(cost), metrics={"last": found})

    def train(self, tasks: Sequence[Task]) -> None:
        """Train the tasks in lockstep, each from where its state says it stands."""
        subject = self.data()
        teacher = self.teacher(subject)
        made = [self.learner(task, subject, teacher) for task in tasks]
        learners = [learner for learner in made if learner is not None]
        for learner in learners:
            if learner.ended:
                self.finish(learner)
        if learners:
            seed = tasks[0].specification["seed"]
            lockstep.train(learners, teacher, subject, seed, self.after_epoch)

    def teacher(self, subject: Data) -> Teacher | None:
        """The job's teacher, if its tasks have one, from the weights whose sum was recorded."""
        of = self.job.teacher
        if of is None:
            return None
        path = self.results.weights(of["id"])
        verify(path, of["sha256"])
        net = teachers.load(of["network"], subject.facts, path)
        return Teacher(net, subject, self.job.tasks[0].specification["recipe"])

    def learner(self, task: Task, subject: Data, teacher: Teacher | None) -> Learner | None:
        """The task's learner, gone on from its state if it has one; None if it cannot be made."""
        try:
            learner = Learner(task, subject, teacher.shapes if teacher else None)
            if (state := self.results.state(task.id)).exists():
                learner.restore(state)
        except Incompatible as error:
            self.report(task, "skipped", str(error))
        except Exception as error:
            self.report(task, "failed", f"{type(error).__name__}: {error}")
        else:
            return learner
        return None

    def after_epoch(self, learner: Learner) -> None:
        """Tell the parent how the learner does; keep its state, or its weights if it is through."""
        if learner.failure is None:
            self.emit({"event": "epoch", "run": learner.task.id, "entry": learner.curves[-1]})
        if learner.ended:
            self.finish(learner)
        else:
            learner.save(self.results.state(learner.task.id))

    def finish(self, learner: Learner) -> None:
        """Keep the weights of a learner that is through, and report it."""
        curves = learner.curves
        details: dict[str, Any] = {"curves": curves, "network": asdict(learner.cost)}
        details["seconds"] = sum(entry["seconds"] for entry in curves)
        if learner.failure is not None:
            self.report(learner.task, *learner.failure, **details)
            return
        self.keep(learner.task, learner.net)
        measured = [entry for entry in curves if "test" in entry]
        best = max(measured, key=lambda entry: entry["test"]["top1"])
        details["metrics"] = {
            "last": measured[-1]["test"],
            "oracle": {**best["test"], "epoch": best["epoch"]},
        }
        if "validation" in measured[-1]:
            details["metrics"]["validation"] = measured[-1]["validation"]
        self.report(learner.task, "done", None, **details)

    def keep(self, task: Task, net: nn.Module) -> None:
        """Write a network's weights, whole or not at all."""
        state = {name: value.contiguous() for name, value in net.state_dict().items()}
        content = safetensors.torch.save(state, {"network": task.specification["network"]})
        write_whole(self.results.weights(task.id), content)

    def report(self, task: Task, status: Status, reason: str | None, **details: Any) -> None:
        """Hand the task's record to the parent."""
        if status == "done":
            details["weights"] = sha256(self.results.weights(task.id))
        record = task.record(
            status,
            reason,
            teacher=self.job.teacher,
            environment=environment(self.device, task.specification["recipe"]["precision"]),
            started=self.started,
            finished=now(),
            **details,
        )
        self.emit({"event": "record", "record": record})


def main() -> None:
    """Do the job on standard input's first line; end when the parent does."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the events
    job = Job.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def emit(event: Event) -> None:
        channel.write(json.dumps(event, allow_nan=False) + "\n")
        channel.flush()

    work(job, emit)


def _end_with_parent() -> None:
    """The parent holds the other end of our input: when it closes, so do we."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
