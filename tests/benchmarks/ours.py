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
from distillers import load as distiller
from distillers.base import reads_of_teacher
from tests.benchmarks.workload import Workload
from tests.training import replay


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
        terms = {term for name in methods for term in tasks[name].specification.method}
        reads = frozenset(read for term in terms for read in reads_of_teacher(distiller(term)))
        self.teacher = Teacher([network], data, self.recipe, reads)
        capture = CudaCapture() if load.gpu else replay.capture
        shapes, record = self.teacher.shapes, capture if graphs else None
        self.learners = [Trainer(tasks[name], data, shapes, record) for name in methods]
        ask = partial(self.teacher, reads=reads)
        self.asked = GraphedStep(ask, capture) if graphs else ask
        self.timer = Timer(load.device)
        strong = any("strong" in learner.reads for learner in self.learners)
        stream = itertools.chain.from_iterable(
            loop.batches(data, 0, epoch, self.recipe, strong=strong) for epoch in itertools.count()
        )
        still = StaticBatch(self.recipe.batch_size)
        self.stream = map(still, stream) if graphs else stream

    def __call__(self, count: int) -> None:
        self.train(self.learners, count)

    def train(self, learners: Sequence[Trainer], count: int) -> None:
        """Train some of the runs on `count` batches."""
        stream = itertools.islice(self.stream, count)
        with kernels(self.recipe):
            loop.train_epoch(learners, self.asked, stream, self.timer)
        if failures := [learner.failure for learner in learners if learner.failure]:
            raise RuntimeError(f"a timed run failed: {failures}")

    @property
    def staged(self) -> list[Trainer]:
        """The runs that are in a stage before training."""
        return [learner for learner in self.learners if learner.pretraining]

    def end_stages(self) -> None:
        """End the stages before training after one batch."""
        if staged := self.staged:
            self.train(staged, 1)
        for learner in staged:
            learner.epoch = -1
            learner.end_epoch(0.0)


class BareNetworks:
    """Teacher and student on one batch and nothing else: the lower bound of every method."""

    def __init__(self, load: Workload, *changes: str) -> None:
        cohort = CohortSteps(load, load.selected[:1], *changes)
        self.frozen, self.recipe = cohort.teacher.net, cohort.recipe
        self.network = cohort.learners[0].net.train()
        self.optimizer = cohort.learners[0].optimizer
        views = next(cohort.stream)
        self.images, self.batch = views.images, views.batch

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
