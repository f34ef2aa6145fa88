"""Subjects: a cohort trained as the worker trains it, and the bare networks as its lower bound."""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

import torch
import torch.nn.functional as F

from bench import models
from bench.spec import Recipe
from bench.training import loop
from bench.training.cuda_graphs import CudaCapture, GraphedStep, StaticBatch
from bench.training.evaluation import autocast
from bench.training.teacher import Teacher
from bench.training.trainer import Timer, Trainer
from tests.benchmarks.workload import Workload


def kernels(recipe: Recipe) -> AbstractContextManager[object]:
    """Return the context in which cuDNN chooses kernels as in a worker."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=recipe.precision == "tf32")


class CohortSteps:
    """Methods of the pair in lockstep: called with n, it trains all of them on n batches."""

    def __init__(
        self, load: Workload, methods: Sequence[str], *changes: str, graphs: bool = False
    ) -> None:
        tasks, data = load.tasks(*changes), load.data
        self.recipe = tasks[methods[0]].specification.recipe
        network = models.build(load.teacher, data.facts.classes, data.facts.size)
        self.teacher = Teacher([network], data, self.recipe)
        shapes, record = self.teacher.shapes, CudaCapture() if graphs else None
        self.learners = [Trainer(tasks[name], data, shapes, record) for name in methods]
        ask = partial(self.teacher, reads=frozenset().union(*(x.reads for x in self.learners)))
        self.asked = GraphedStep(ask, CudaCapture()) if graphs else ask
        self.clock = Timer(load.device)
        stream = itertools.chain.from_iterable(
            loop.batches(data, 0, epoch, self.recipe) for epoch in itertools.count()
        )
        still = StaticBatch(self.recipe.batch_size)
        self.stream = map(still, stream) if graphs else stream

    def __call__(self, count: int) -> None:
        stream = itertools.islice(self.stream, count)
        with kernels(self.recipe):
            loop.train_epoch(self.learners, self.asked, stream, self.clock)
        if failures := [learner.failure for learner in self.learners if learner.failure]:
            raise RuntimeError(f"a timed run failed: {failures}")


class BareNetworks:
    """Teacher and student on one batch and nothing else: the lower bound of every method."""

    def __init__(self, load: Workload, *changes: str) -> None:
        cohort = CohortSteps(load, load.selected[:1], *changes)
        self.frozen, self.recipe = cohort.teacher.net, cohort.recipe
        self.network = cohort.learners[0].net.train()
        self.optimizer = cohort.learners[0].optimizer
        self.images, self.batch, _ = next(cohort.stream)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context of the recipe."""
        return autocast(self.images.device, self.recipe)

    @torch.no_grad()
    def teacher(self, count: int) -> None:
        """Run the teacher's forward pass."""
        with kernels(self.recipe), self.autocast():
            for _ in range(count):
                self.frozen(self.images)

    def student(self, count: int) -> None:
        """Train the student with cross-entropy and SGD."""
        with kernels(self.recipe):
            for _ in range(count):
                with self.autocast():
                    logits = self.network(self.images).logits
                self.optimizer.zero_grad()
                F.cross_entropy(logits.float(), self.batch.labels).backward()
                self.optimizer.step()

    def both(self, count: int) -> None:
        """Run the teacher's passes, then the student's steps."""
        self.teacher(count)
        self.student(count)
