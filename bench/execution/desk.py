"""Where one job is worked on: its data, its teacher, its learners, its files."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from bench import data, models
from bench.data import Data, Selection, Share
from bench.execution.heartbeat import Pulse, Pulsing
from bench.execution.protocol import Emit, Job, Task
from bench.plugins import Registry
from bench.results import Corrupt, Results, verify
from bench.results.environment import environment, now
from bench.results.files import set_aside
from bench.results.record import Status
from bench.training import loop, metrics
from bench.training import teacher as teachers
from bench.training.cuda_graphs import Cuda
from bench.training.evaluation import predict
from bench.training.oom import exhausted
from bench.training.sharded import TIMEOUT, Sharded
from bench.training.teacher import Teacher
from bench.training.trainer import Learner
from distillers import Incompatible


class Desk:
    """Where one job is worked on: its data, its teacher, its files, and what is told the parent."""

    def __init__(self, job: Job, emit: Emit, share: Share = Share()) -> None:  # noqa: B008 (frozen)
        self.job, self.emit, self.share = job, emit, share
        self.results = Results(Path(job.results))
        self.device = torch.device(job.devices[share.rank])
        self.registry = Registry.of(map(Path, job.plugins), enabled=job.plugins_enabled)
        self.record = Cuda() if job.graphs else None
        self.started = now()

    def data(self) -> Data:
        """The data set of all the job's tasks, on the device."""
        of = self.job.tasks[0].specification["data"]
        held = {name: value for name, value in of.items() if name not in ("fingerprint", "source")}
        selection = Selection(**{**held, "name": self.job.dataset})
        root = Path(self.job.data_root) if self.job.data_root else None
        added = self.registry.datasets
        subject = data.load(selection, root, self.device, share=self.share, added=added)
        return Pulsing(subject, Pulse(self.emit))

    def adopt(self, task: Task) -> None:
        """Make a teacher of a checkpoint: checked by sum and by accuracy, then kept as weights."""
        of, manifest = task.specification, task.checkpoint or {}
        path = Path(manifest["path"])
        verify(path, of["checkpoint"])
        subject = self.data()
        net = teachers.load(of["network"], subject.facts, path, self.registry).to(self.device)
        found = metrics.measure(*predict(net, subject, "test", of["recipe"]))
        teachers.check_accuracy(path, found["top1"], manifest)
        cost = models.cost(net, subject.facts.size)
        weights = self.keep(task, net)
        known = {"network": asdict(cost), "metrics": {"last": found}, "weights": weights}
        self.report(task, "done", None, **known)

    def train(self, tasks: Sequence[Task]) -> None:
        """Train the tasks in lockstep, each from where its state says it stands."""
        subject = self.data()
        teacher = self.teacher(subject)
        sharded = Sharded(self.share)
        with sharded.first_then_others():
            made = [self.learner(task, subject, teacher) for task in tasks]
        learners = [learner for learner in made if learner is not None]
        start = str([(learner.task.id, learner.epoch) for learner in learners])
        if not sharded.agreed("start", start, TIMEOUT):
            raise RuntimeError(f"rank {self.share.rank} would start alone with {start}")
        if learners:
            seed = tasks[0].specification["seed"]
            ask = (
                Cuda() if self.job.graphs else None
            )  # its own memory: all learners read the answer
            loop.train(learners, teacher, subject, seed, self.after_epoch, ask)
        sharded.leave()

    def teacher(self, subject: Data) -> Teacher | None:
        """The job's teacher, if its tasks have one, from the weights whose sum was recorded."""
        of = self.job.teacher
        if of is None:
            return None
        path = self.results.weights(of["id"])
        verify(path, of["sha256"])
        net = teachers.load(of["network"], subject.facts, path, self.registry)
        return Teacher(net, subject, self.job.tasks[0].specification["recipe"])

    def learner(self, task: Task, subject: Data, teacher: Teacher | None) -> Learner | None:
        """The task's learner, gone on from its state if it has one; None if it cannot be made."""
        shapes = teacher.shapes if teacher else None
        try:
            learner = Learner(task, subject, shapes, self.record, self.registry)
        except Incompatible as error:
            self.report(task, "skipped", str(error))
            return None
        except Exception as error:
            if exhausted(error):
                raise
            self.report(task, "failed", f"{type(error).__name__}: {error}")
            return None
        if self.resumed(learner):
            return learner
        return Learner(task, subject, shapes, self.record, self.registry)

    def resumed(self, learner: Learner) -> bool:
        """Whether all is well with the learner's state; one that is of no use is set aside."""
        task = learner.task
        try:
            if (saved := self.results.read_state(task.id)) is not None:
                learner.restore(saved)
        except Exception as error:
            if exhausted(error):
                raise
            why = error.why if isinstance(error, Corrupt) else f"{type(error).__name__}: {error}"
            aside = set_aside(self.results.state(task.id))
            said = f"{task.name} starts afresh: {aside.stem}, now {aside.name}, is of no use: {why}"
            self.emit({"event": "notice", "text": said.partition("\n")[0]})
            return False
        return True

    def after_epoch(self, learner: Learner) -> None:
        """Keep the learner's state, or if it is through its weights, and tell the parent."""
        if not learner.ended:
            self.results.keep_state(learner.task.id, learner.saved())
        if learner.failure is None:
            self.emit({"event": "epoch", "run": learner.task.id, "entry": learner.curves[-1]})
        if learner.ended:
            self.finish(learner)

    def finish(self, learner: Learner) -> None:
        """Keep the weights of a learner that is through, and report it."""
        curves = learner.curves
        details: dict[str, Any] = {"curves": curves, "network": asdict(learner.cost)}
        details["seconds"] = sum(entry["seconds"] for entry in curves)
        if learner.failure is not None:
            self.report(learner.task, *learner.failure, **details)
            return
        details["weights"] = self.keep(learner.task, learner.net)
        measured = [entry for entry in curves if "test" in entry]
        best = max(measured, key=lambda entry: entry["test"]["top1"])
        details["metrics"] = {
            "last": measured[-1]["test"],
            "oracle": {**best["test"], "epoch": best["epoch"]},
        }
        if "validation" in measured[-1]:
            details["metrics"]["validation"] = measured[-1]["validation"]
        self.report(learner.task, "done", None, **details)

    def keep(self, task: Task, net: nn.Module) -> str:
        """Write a network's weights, whole or not at all; returns their SHA-256."""
        state = {name: value.contiguous() for name, value in net.state_dict().items()}
        content = safetensors.torch.save(state, {"network": task.specification["network"]})
        return self.results.keep_weights(task.id, content)

    def report(self, task: Task, status: Status, reason: str | None, **details: Any) -> None:
        """Hand the task's record to the parent."""
        record = task.record(
            status,
            reason,
            teacher=self.job.teacher,
            environment=environment(
                self.device,
                task.specification["recipe"]["precision"],
                self.share.ranks,
                self.job.graphs,
            ),
            started=self.started,
            finished=now(),
            **details,
        )
        self.emit({"event": "record", "record": record.content})


class Beside(Desk):
    """The desk of another rank than the first: it trains along, keeps nothing and tells nothing."""

    def resumed(self, learner: Learner) -> bool:
        """Whether there is a state; the first rank has found it to be of use."""
        if (saved := self.results.read_state(learner.task.id)) is not None:
            learner.restore(saved)
        return True

    def after_epoch(self, learner: Learner) -> None:
        """Nothing: the first rank does it."""

    def finish(self, learner: Learner) -> None:
        """Nothing: the first rank does it."""

    def report(self, task: Task, status: Status, reason: str | None, **details: Any) -> None:
        """Nothing: the first rank does it."""
