"""One run under way: a network, its objective, its optimiser, and what was measured so far."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench import models, seeding
from bench.data import Data
from bench.execution.protocol import Task
from bench.plugins import BUILTIN, Registry
from bench.results.environment import peak_memory
from bench.results.record import Status
from bench.training.checkpoint import momentum, packed, set_momentum, unpacked
from bench.training.cuda_graphs import Record, Replayed, Unrecordable
from bench.training.evaluation import autocast, detached, float32
from bench.training.loss import Objective
from bench.training.oom import exhausted
from bench.training.sharded import Sharded
from bench.training.timer import Clock
from distillers import Batch, Features, Shapes

FUSED = {"cuda"}  # kinds of device whose optimiser is one kernel, with its learning rate a tensor


class Learner:
    """A network in training, student or teacher, from the specification of its task.

    `epoch` counts the epochs behind it and `curves` holds one entry for each. A learner whose
    `failure` is set has retired: it is stepped no more. With `record` its steps are recorded.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        teacher: Shapes | None,
        record: Record | None = None,
        registry: Registry = BUILTIN,
    ) -> None:
        self.task = task
        specification = task.specification
        self.recipe = specification["recipe"]
        self.device = data.train_labels.device
        self.sharded = Sharded(data.share)
        self.seed, network = specification["seed"], specification["network"]
        role = "student" if "teacher" in specification else "teacher"
        with seeding.initialised_by("weights", role, self.seed, network):
            net = registry.build_network(network, data.facts.classes, data.facts.size)
        shapes = models.shapes(net, data.facts.size)
        self.cost = models.cost(net, data.facts.size)
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        method, labels = specification["method"], data.train_labels
        objective = Objective(method, shapes, teacher or shapes, labels, self.seed, registry)
        self.objective = objective.to(self.device)
        self.reads_stages = "stages" in self.objective.reads
        self.fused = self.device.type in FUSED
        self.optimizer = _optimizer(self.net, self.objective, self.recipe, self.fused)
        self._lr = torch.zeros((), device=self.device)
        self._sums = torch.zeros(1 + len(self.objective.terms), device=self.device)
        self.replayed = Replayed(self.descend, record, self.objective.streams) if record else None
        self.clock = Clock(self.device)
        self.epoch = 0
        self.curves: list[dict[str, Any]] = []
        self.failure: tuple[Status, str] | None = None  # and its reason

    @property
    def ended(self) -> bool:
        """Whether it is through all epochs of its recipe, or has retired."""
        return self.failure is not None or self.epoch >= self.recipe["epochs"]

    def begin_epoch(self) -> None:
        """Set the epoch's learning rate and start its sums at zero."""
        rate = learning_rate(self.recipe, self.epoch + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr.fill_(rate) if self.fused else rate
        self.net.train()
        self.objective.train()
        self._sums.zero_()
        self._images = 0

    def step(self, images: Tensor, teacher: Features | None, batch: Batch) -> None:
        """One step of stochastic gradient descent on a batch, from the forward pass to its end.

        Images are those of the learner's share; the teacher's features and the batch are whole.
        """
        with self.clock:
            noise = self.epoch, self._images, self.sharded.share.rank
            seeding.restart(self.device, "noise", self.seed, *noise)
            (self.replayed or self.descend)(images, teacher, batch)
            self._images += len(batch.labels)

    def descend(self, images: Tensor, teacher: Features | None, batch: Batch) -> None:
        """The step: all of it is on the device, and no number of it in Python changes."""
        count = len(batch.labels)
        with autocast(self.device, self.recipe), self.sharded.statistics(count):
            raw = self.net(images)
        own = float32(raw, stages=self.reads_stages)
        seen = self.sharded.whole(own, count, stages=self.reads_stages)
        total, terms = self.objective(seen, teacher or detached(seen), batch)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.sharded.sum_gradients(self.net.parameters(), count)
        self.optimizer.step()
        self._sums += torch.stack([total, *terms.values()]).detach() * count

    def end_epoch(self, shared_seconds: float) -> None:
        """Add the epoch's entry to the curves; retire if its loss was not finite."""
        self.epoch += 1
        self.sharded.level([self._sums, *self._tensors()])
        loss, *terms = (self._sums / self._images).tolist()
        seconds = self.clock.seconds()
        if not math.isfinite(loss):
            self.failure = ("diverged", f"diverged at epoch {self.epoch}")
        self.curves.append(
            {
                "epoch": self.epoch,
                "lr": learning_rate(self.recipe, self.epoch),
                "loss": finite(loss),
                "terms": dict(zip(self.objective.terms, map(finite, terms), strict=True)),
                "seconds": seconds,
                "shared_seconds": shared_seconds,
                "images_per_second": self._images / seconds,
                "peak_memory": peak_memory(self.device),
            }
        )

    @contextmanager
    def retiring(self) -> Iterator[None]:
        """Inside, an error costs this learner alone: it retires, with the error as its reason.

        What is not its own is raised: a lack of memory, a step that cannot be recorded, and an
        error of one rank among several.
        """
        try:
            yield
        except Exception as error:
            shared = exhausted(error) or isinstance(error, Unrecordable)
            if shared or not self.sharded.agreed(f"{self.task.id} failed"):
                raise
            self.failure = ("failed", f"{type(error).__name__}: {error}")

    def _tensors(self) -> Iterator[Tensor]:
        """All that training changes."""
        for module in (self.net, self.objective):
            yield from module.parameters()
            yield from module.buffers()
        for held in self.optimizer.state.values():
            yield from (value for value in held.values() if isinstance(value, Tensor))

    def saved(self) -> memoryview:
        """All that is needed to go on from here, for `restore`."""
        return packed(
            self.task.id,
            self.curves,
            net=self.net.state_dict(),
            objective=self.objective.state_dict(),
            momentum=momentum(self.optimizer),
        )

    def restore(self, saved: bytes) -> None:
        """Go on from what was saved, with the numbers of a run that was never stopped.

        Raises whatever there is to raise where it does not fit; then the learner is of no use any
        more.
        """
        state = unpacked(saved, self.task.id, self.recipe["epochs"], self.objective.terms)
        self.net.load_state_dict(state["net"])
        self.objective.load_state_dict(state["objective"])
        set_momentum(self.optimizer, state["momentum"])
        self.curves = state["curves"]
        self.epoch = len(self.curves)


def learning_rate(recipe: Mapping[str, Any], epoch: int) -> float:
    """Lr · decay^n in the 1-based epoch, n the number of milestones that lie before it."""
    passed = sum(epoch > milestone for milestone in recipe["milestones"])
    return float(recipe["lr"] * recipe["decay"] ** passed)


def finite(value: float) -> float | None:
    """The value, or None, which JSON can hold, where it is not finite."""
    return value if math.isfinite(value) else None


def _optimizer(
    net: nn.Module, objective: Objective, recipe: Mapping[str, Any], fused: bool
) -> torch.optim.Optimizer:
    exempt = objective.undecayed()
    decayed = [p for p in [*net.parameters(), *objective.parameters()] if p not in exempt]
    groups = [{"params": decayed, "weight_decay": recipe["weight_decay"]}]
    if exempt:
        kept = [p for p in objective.parameters() if p in exempt]
        groups.append({"params": kept, "weight_decay": 0.0})
    return torch.optim.SGD(
        groups,
        lr=recipe["lr"],
        momentum=recipe["momentum"],
        nesterov=recipe["nesterov"],
        fused=fused,
    )
