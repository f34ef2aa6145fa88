"""The same work as the worker does it, and the floor under it: nothing but the networks."""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F

from bench import models
from bench.training import lockstep
from bench.training.clock import Clock
from bench.training.graphs import Record, Replayed, Still
from bench.training.inference import autocast
from bench.training.learner import Learner
from bench.training.teacher import Teacher
from tests.benchmarks.workload import Workload


class Cohort:
    """Methods of the pair in lockstep: called with n, it trains all of them on n batches."""

    def __init__(
        self, load: Workload, methods: Sequence[str], *changes: str, record: Record | None = None
    ) -> None:
        tasks, data = load.tasks(*changes), load.data
        self.recipe = tasks[methods[0]].specification["recipe"]
        net = models.build(load.teacher, data.facts.classes, data.facts.size)
        self.teacher = Teacher(net, data, self.recipe)
        self.asked = Replayed(self.teacher, record) if record else self.teacher
        shapes = self.teacher.shapes
        self.learners = [Learner(tasks[name], data, shapes, record) for name in methods]
        self.clock = Clock(load.device)
        stream = itertools.chain.from_iterable(
            lockstep.batches(data, 0, epoch, self.recipe) for epoch in itertools.count()
        )
        still = Still(self.recipe["batch_size"])
        self.stream = itertools.starmap(still, stream) if record else stream

    def __call__(self, count: int) -> None:
        stream = itertools.islice(self.stream, count)
        lockstep._epoch(self.learners, self.asked, stream, self.clock)
        if failed := [one.failure for one in self.learners if one.failure]:
            raise RuntimeError(f"not to be timed: {failed}")


class Bare:
    """Nothing but the networks, on one batch: what no method can go below."""

    def __init__(self, load: Workload, *changes: str) -> None:
        cohort = Cohort(load, load.chosen[:1], *changes)
        self.frozen, self.recipe = cohort.teacher.net, cohort.recipe
        self.net, self.optimizer = cohort.learners[0].net.train(), cohort.learners[0].optimizer
        self.images, self.batch = next(cohort.stream)

    def autocast(self) -> AbstractContextManager[object]:
        """Under which the networks run."""
        return autocast(self.images.device, self.recipe)

    @torch.no_grad()
    def teacher(self, count: int) -> None:
        """Forward passes."""
        for _ in range(count):
            with self.autocast():
                self.frozen(self.images)

    def student(self, count: int) -> None:
        """Steps with cross-entropy and SGD."""
        for _ in range(count):
            with self.autocast():
                logits = self.net(self.images).logits
            self.optimizer.zero_grad()
            F.cross_entropy(logits.float(), self.batch.labels).backward()
            self.optimizer.step()

    def both(self, count: int) -> None:
        """One run's share of either."""
        self.teacher(count)
        self.student(count)
