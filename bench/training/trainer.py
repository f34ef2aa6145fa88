"""The training of one run: network, loss, optimiser, curves and checkpoints."""

import bdb
import math
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Generator, Tensor, nn

from bench import models, seeding
from bench.data import Data
from bench.execution.protocol import Task
from bench.plugins import BUILTIN, Registry
from bench.results.environment import is_out_of_memory, peak_memory
from bench.results.record import Epoch, Status
from bench.spec import Recipe, TermSpec
from bench.training.checkpoint import check_tensors, decode, encode, momentum, set_momentum
from bench.training.cuda_graphs import Capture, CaptureError, GraphedStep
from bench.training.evaluation import autocast, detached, finite_or_none, float32
from distillers import Batch, Distiller, Features, Setting, Shapes
from distillers.base import FeatureName

FUSED = {"cuda"}  # device types with a fused optimiser, whose learning rate is a tensor


class WeightedLoss(nn.Module):
    """The loss of one method, a weighted sum of terms such as `{ce: 1, crd: 0.8, kd: 1}`.

    L = Σ_k w_k L_k, where term k has the weight w_k and the loss L_k of one distiller. The sum
    begins with terms that read early features of the network; ties are sorted by name. Rounding
    therefore does not depend on the order of terms in the suite. Each term has its own random
    generators, seeded by the run's seed and the term's name. An additional term therefore does not
    change the random numbers of other terms.

    Args:
        terms: Weight and options of each distiller, by the distiller's name.
        student: Shapes of the student's features.
        teacher: Shapes of the teacher's features.
        train_labels: Labels of the training set (N,), on the training device.
        seed: The run's seed.
        registry: The distillers that the suite can use, by name.

    Attributes:
        terms: The distillers by name.
        streams: The random generator of each distiller.
    """

    def __init__(
        self,
        terms: Mapping[str, TermSpec],
        student: Shapes,
        teacher: Shapes,
        train_labels: Tensor,
        seed: int,
        registry: Registry = BUILTIN,
    ) -> None:
        super().__init__()
        self.weights = {name: term.weight for name, term in terms.items()}
        self.terms = nn.ModuleDict()
        self.streams: list[Generator] = []
        classes = {name: registry.distiller(name) for name in terms}
        for name in sorted(terms, key=lambda name: (_earliest_feature(classes[name]), name)):
            rng = seeding.generator(train_labels.device, "draws", seed, name)
            setting = Setting(student, teacher, train_labels, rng)
            self.streams.append(rng)
            with seeding.initialised_by("term", seed, name):
                self.terms[name] = classes[name](setting, **terms[name].options)

    def forward(
        self, student: Features, teacher: Features, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of one batch.

        Args:
            student: The student's features, with gradients.
            teacher: The teacher's features.
            batch: Labels of the images, and their indices in the training set.

        Returns:
            The weighted sum, and each term's unweighted loss by name; all are scalar tensors.
        """
        losses = {name: term(student, teacher, batch) for name, term in self.terms.items()}
        weighted = [self.weights[name] * loss for name, loss in losses.items()]
        return sum(weighted[1:], weighted[0]), losses

    @property
    def uses_teacher(self) -> bool:
        """Whether any term uses the teacher's features."""
        return any(getattr(term, "uses_teacher", True) for term in self.terms.values())

    @property
    def reads(self) -> set[FeatureName]:
        """The fields of `Features` that at least one term may read."""
        return {feature for term in self.terms.values() for feature in getattr(term, "reads", ())}

    def undecayed(self) -> set[nn.Parameter]:
        """Return the parameters that distillers exempt from weight decay."""
        return {
            term.get_parameter(name)
            for term in self.terms.values()
            for name in getattr(term, "undecayed", ())
        }


def _earliest_feature(distiller: type[Distiller]) -> int:
    """Return the rank of a distiller's earliest feature: 0 stages, 1 pooled, 2 logits."""
    return min((get_args(FeatureName).index(feature) for feature in distiller.reads), default=0)


class Timer:
    """Adds up the time inside its `with` blocks: GPU time on CUDA, else wall-clock time."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._total = 0.0

    def __enter__(self) -> None:
        if self._cuda:
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._events.append(pair)
            pair[0].record()
        else:
            self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        if self._cuda:
            self._events[-1][1].record()
        else:
            self._total += time.perf_counter() - self._start

    def seconds(self) -> float:
        """Return the seconds added since the last call; on CUDA, first wait for the GPU."""
        if self._cuda and self._events:
            self._events[-1][1].synchronize()
            self._total = sum(start.elapsed_time(end) for start, end in self._events) / 1000
            self._events.clear()
        total, self._total = self._total, 0.0
        return total


class Trainer:
    """The training of one network, a student or a teacher.

    Args:
        task: The run to train.
        data: The data set, on the training device.
        teacher: Shapes of the teacher's features; None if there is no teacher.
        capture: Function that captures steps as CUDA graphs; None: no capture.
        registry: The networks and distillers that the suite can use, by name.
        teacher_sha256: SHA-256 of the teacher's weights; empty if there is no teacher. `restore`
            refuses a checkpoint of a student that learned from other weights.

    Attributes:
        epoch: Number of completed epochs.
        curves: One entry for each completed epoch.
        failure: Status and reason if the run failed or diverged, else None. A run with a failure is
            not trained further.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        teacher: Shapes | None,
        capture: Capture | None = None,
        registry: Registry = BUILTIN,
        teacher_sha256: str = "",
    ) -> None:
        self.task, self.registry, self.teacher_sha256 = task, registry, teacher_sha256
        spec = task.specification
        self.recipe, self.seed = spec.recipe, spec.seed
        self.device = data.train_labels.device
        with seeding.initialised_by("weights", spec.role, spec.seed, spec.network):
            size = data.facts.classes, data.facts.size
            net = registry.build_network(spec.network, *size, spec.stages or ())
        shapes = models.shapes(net, data.facts.size)
        self.cost = models.cost(net, data.facts.size)
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        labels = data.train_labels
        loss = WeightedLoss(spec.method, shapes, teacher or shapes, labels, spec.seed, registry)
        self.loss = loss.to(self.device)
        check_tensors({**self.net.state_dict(), **self.loss.state_dict()})
        self.reads_stages = "stages" in self.loss.reads
        self.fused = self.device.type in FUSED
        self.optimizer = _optimizer(self.net, self.loss, self.recipe, self.fused)
        self._lr = torch.zeros((), device=self.device)
        self._sums = torch.zeros(1 + len(self.loss.terms), device=self.device)
        self.graphed = GraphedStep(self.descend, capture, self.loss.streams) if capture else None
        self.timer = Timer(self.device)
        self.epoch = 0
        self.curves: list[Epoch] = []
        self.failure: tuple[Status, str] | None = None

    @property
    def ended(self) -> bool:
        """Whether the run has completed all epochs, or has failed."""
        return self.failure is not None or self.epoch >= self.recipe.epochs

    def begin_epoch(self) -> None:
        """Set the learning rate of the next epoch, and reset the sums of its losses."""
        lr = learning_rate(self.recipe, self.epoch + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr.fill_(lr) if self.fused else lr
        self.net.train()
        self.loss.train()
        self._sums.zero_()
        self._images = 0

    def step(self, images: Tensor, teacher: Features | None, batch: Batch) -> None:
        """Train on one batch.

        Args:
            images: The batch's images, (B, 3, H, W).
            teacher: The teacher's features; None if no term uses them.
            batch: Labels and indices of the images.
        """
        with self.timer:
            # the 0 means nothing, but without it, the random numbers of all runs would change
            noise = self.epoch, self._images, 0
            seeding.restart(self.device, "noise", self.seed, *noise)
            (self.graphed or self.descend)(images, teacher, batch)
            self._images += len(batch.labels)

    def descend(self, images: Tensor, teacher: Features | None, batch: Batch) -> None:
        """Compute the loss of one batch and update the parameters.

        A CUDA graph can repeat this method: only the values in tensors change between steps.
        """
        with autocast(self.device, self.recipe):
            outputs = self.net(images)
        student = float32(outputs, stages=self.reads_stages)
        total, terms = self.loss(student, teacher or detached(student), batch)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self._sums += torch.stack([total, *terms.values()]).detach() * len(batch.labels)

    def end_epoch(self, shared_seconds: float) -> None:
        """Append the epoch to the curves; mark the run as diverged if its loss is not finite.

        Args:
            shared_seconds: Seconds of the cohort's shared work: batches and the teacher's features.
        """
        self.epoch += 1
        loss, *terms = (self._sums / self._images).tolist()
        seconds = self.timer.seconds()
        if not math.isfinite(loss):
            self.failure = ("diverged", f"diverged at epoch {self.epoch}")
        self.curves.append(
            Epoch(
                epoch=self.epoch,
                lr=learning_rate(self.recipe, self.epoch),
                loss=finite_or_none(loss),
                terms=dict(zip(self.loss.terms, map(finite_or_none, terms), strict=True)),
                seconds=seconds,
                shared_seconds=shared_seconds,
                images_per_second=self._images / seconds,
                peak_memory=peak_memory(self.device),
            )
        )

    @contextmanager
    def catch_failure(self) -> Iterator[None]:
        """Turn an error in the block into this run's failure, so that the cohort continues.

        Raises:
            Exception: Memory ran out, or a step could not be captured as a CUDA graph. Both errors
                concern the whole cohort.
            KeyboardInterrupt: The user quit a debugger.
        """
        try:
            yield
        except bdb.BdbQuit as error:
            raise KeyboardInterrupt from error  # the user typed `q` in a debugger
        except (Exception, SystemExit) as error:  # a plugin may call sys.exit
            if is_out_of_memory(error) or isinstance(error, CaptureError):
                raise
            traceback.print_exc()  # written to the worker's log; with --inline, to the screen
            self.failure = ("failed", self.registry.describe_error(error))

    def checkpoint(self) -> bytes:
        """Return everything that `restore` needs to resume after this epoch."""
        parts = {"network": self.net.state_dict(), "loss": self.loss.state_dict()}
        parts["momentum"] = momentum(self.optimizer)
        return encode(self.task.id, self.teacher_sha256, self.curves, parts)

    def restore(self, content: bytes) -> None:
        """Resume from a checkpoint; later epochs are the same as without an interruption.

        Args:
            content: A checkpoint of this run.

        Raises:
            Exception: The checkpoint is invalid; the trainer must not be used afterwards.
        """
        owner = self.task.id, self.teacher_sha256
        curves, parts = decode(content, *owner, self.recipe.epochs, self.loss.terms)
        self.net.load_state_dict(parts["network"])
        self.loss.load_state_dict(parts["loss"])
        set_momentum(self.optimizer, parts["momentum"])
        self.curves, self.epoch = curves, len(curves)


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Return lr · decay^n, where n milestones are before the epoch (counted from 1)."""
    passed = sum(epoch > milestone for milestone in recipe.milestones)
    return float(recipe.lr * recipe.decay**passed)


def _optimizer(
    net: nn.Module, loss: WeightedLoss, recipe: Recipe, fused: bool
) -> torch.optim.Optimizer:
    exempt = loss.undecayed()
    decayed = [p for p in [*net.parameters(), *loss.parameters()] if p not in exempt]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}]
    if exempt:
        undecayed = [p for p in loss.parameters() if p in exempt]
        groups.append({"params": undecayed, "weight_decay": 0.0})
    return torch.optim.SGD(
        groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov, fused=fused
    )
