"""The training of one run: network, loss, optimiser, curves and checkpoints."""

import bdb
import math
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from bench import models, seeding
from bench.data import Data
from bench.execution.protocol import Task
from bench.plugins import BUILTIN, Registry
from bench.results.environment import is_out_of_memory, peak_memory
from bench.results.record import Epoch, Status
from bench.training import optimizer as optimizers
from bench.training import pretrained
from bench.training.checkpoint import check_tensors, decode, encode
from bench.training.cuda_graphs import Capture, CaptureError, GraphedStep
from bench.training.evaluation import compute, finite_or_none
from bench.training.loss import ImageKind, WeightedLoss
from bench.training.optimizer import Average, learning_rate
from distillers import Batch, Features, Shapes

FUSED = {"cuda"}  # device types with a fused optimiser, whose learning rate is a tensor


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
        teachers: Shapes of the features of the teacher, or of each member of an ensemble; empty if
            there is no teacher.
        capture: Function that captures steps as CUDA graphs; None: no capture.
        registry: The networks and distillers that the suite can use, by name.
        teacher_sha256: SHA-256 of the teacher's weights; empty if there is no teacher. `restore`
            refuses a checkpoint of a student that learned from other weights.
        initial: Tensors by name that replace those of the new network; None: none.

    Attributes:
        model: The network that is evaluated, including the distiller's head, if there is one.
        trains: Whether the network is trained; a run without a loss keeps its initial weights.
        epoch: Number of completed epochs; negative in a stage before training.
        curves: One entry for each completed epoch.
        failure: Status and reason if the run failed or diverged, else None. A run with a failure is
            not trained further.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        teachers: Sequence[Shapes],
        capture: Capture | None = None,
        registry: Registry = BUILTIN,
        teacher_sha256: str = "",
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.task, self.registry, self.teacher_sha256 = task, registry, teacher_sha256
        spec = task.specification
        self.recipe, self.seed = spec.recipe, spec.seed
        self.device = data.train_labels.device
        with seeding.initialised_by("weights", spec.role, spec.seed, spec.network):
            size = data.facts.classes, data.facts.size
            stages, drop_path = spec.stages or (), spec.recipe.drop_path
            weights = {"pretrained": spec.pretrained}
            net = registry.build_network(spec.network, *size, stages, drop_path, **weights)
        pretrained.load_into(net, initial or {})
        reads = {name for term in spec.method for name in registry.distiller(term).reads}
        shapes = models.shapes(net, data.facts.size, reads)
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        labels = data.train_labels
        kinds: dict[ImageKind, bool] = {
            "mixed": self.recipe.mixes, "unlabelled": data.facts.labels != "all",
        }  # fmt: skip
        loss = WeightedLoss(
            spec.method, shapes, teachers or [shapes], labels, spec.seed, registry,
            images=[kind for kind, applies in kinds.items() if applies],
            mean=spec.combine == "mean",
        )  # fmt: skip
        self.loss, self.trains = loss.to(self.device), bool(spec.method)
        check_tensors({**self.net.state_dict(), **self.loss.state_dict()})
        head, self.size = self.loss.head, data.facts.size
        self.model = models.headed(self.net, head, self.size) if head else self.net
        self.cost = models.cost(self.model, self.size)
        self.fused, self.capture = self.device.type in FUSED, capture
        self._epoch = torch.zeros((), device=self.device)
        self._sums = torch.zeros(1 + len(self.loss.terms), device=self.device)
        self.timer = Timer(self.device)
        self.epoch = -self.loss.stage.epochs if self.loss.stage else 0
        self.curves: list[Epoch] = []
        self.failure: tuple[Status, str] | None = None
        self._begin_stage()

    def _begin_stage(self) -> None:
        """Make the optimiser and the step of the training, or of the stage before it."""
        stage = self.loss.stage
        self.pretraining = stage is not None and self.epoch < 0
        trains_student = not self.pretraining or (stage is not None and stage.student)
        self.reads = self.loss.reads(pretraining=self.pretraining)
        self.teacher_reads = self.loss.reads(pretraining=self.pretraining, teacher=True)
        self.uses_teacher = self.loss.uses_teacher(pretraining=self.pretraining)
        self.names = self.loss.names(pretraining=self.pretraining)
        self._read = models.reader(self.net, self.size, self.reads) if trains_student else None
        step, capture = self.descend, self.capture
        self.optimizer = optimizers.build(
            self.recipe,
            self.net if trains_student else None,
            self.loss.learning(pretraining=self.pretraining),
            self.loss.undecayed(),
            fused=self.fused,
            captured=capture is not None,
        )
        decay = 0.0 if self.pretraining else self.recipe.ema
        self.average = Average(self.model, decay) if decay else None
        self.graphed = GraphedStep(step, capture, self.loss.streams) if capture else None

    @property
    def ended(self) -> bool:
        """Whether the run has completed all epochs, or has failed."""
        return self.failure is not None or not self.trains or self.epoch >= self.recipe.epochs

    def begin_untrained(self) -> None:
        """Append an epoch 0 without training to the curves, for a run that does not train."""
        self.curves.append(
            Epoch(
                epoch=0,
                lr=0.0,
                loss=None,
                terms={},
                seconds=0.0,
                shared_seconds=0.0,
                images_per_second=0.0,
                peak_memory=peak_memory(self.device),
            )
        )

    def begin_epoch(self) -> None:
        """Set the learning rate of the next epoch, and reset the sums of its losses."""
        stage = self.loss.stage
        optimizers.set_rate(self.optimizer, self.learning_rate(self.epoch + 1))
        self._epoch.fill_(self.epoch + 1 + (stage.epochs if stage and self.pretraining else 0))
        self.net.train()
        self.loss.train()
        self._sums.zero_()
        self._images = 0

    def step(
        self,
        images: Tensor,
        teachers: Sequence[Features],
        batch: Batch,
        strong: Tensor | None = None,
    ) -> None:
        """Train on one batch.

        Args:
            images: The batch's images, (B, 3, H, W).
            teachers: The features of the teacher, or of each member of an ensemble; empty if no
                term uses them.
            batch: Labels and indices of the images.
            strong: The strong view of the images; None if no term reads it.
        """
        with self.timer:
            # the 0 means nothing, but without it, the random numbers of all runs would change
            noise = self.epoch, self._images, 0
            seeding.restart(self.device, "noise", self.seed, *noise)
            (self.graphed or self.descend)(images, teachers, batch, strong)
            self._images += len(batch.labels)

    def descend(
        self,
        images: Tensor,
        teachers: Sequence[Features],
        batch: Batch,
        strong: Tensor | None,
    ) -> None:
        """Compute the loss of one batch and update the parameters.

        A CUDA graph can repeat this method: only the values in tensors change between steps.
        """
        student: Any = None
        if self._read is not None:
            student = compute(self._read, images, strong, self.reads, self.recipe)
        stage = self.loss.stage
        epochs = stage.epochs if stage and self.pretraining else self.recipe.epochs
        batch = replace(batch, epoch=self._epoch, epochs=epochs)
        loss = self.loss.pretrain if self.pretraining else self.loss
        total, terms = loss(student, teachers or [student.map(Tensor.detach)], batch)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if self.recipe.clip:
            clip_grad_norm_(optimizers.parameters(self.optimizer), self.recipe.clip)
        self.optimizer.step()
        if self.average:
            self.average.step()
        losses = torch.stack([total, *terms.values()]).detach()
        self._sums[: len(losses)] += losses * len(batch.labels)

    def end_epoch(self, shared_seconds: float) -> None:
        """Append the epoch to the curves; mark the run as diverged if its loss is not finite.

        Args:
            shared_seconds: Seconds of the cohort's shared work: batches and the teacher's features.
        """
        self.epoch += 1
        loss, *terms = (self._sums[: 1 + len(self.names)] / self._images).tolist()
        seconds = self.timer.seconds()
        if not math.isfinite(loss):
            self.failure = ("diverged", f"diverged at epoch {self.epoch}")
        self.curves.append(
            Epoch(
                epoch=self.epoch,
                lr=self.learning_rate(self.epoch),
                loss=finite_or_none(loss),
                terms=dict(zip(self.names, map(finite_or_none, terms), strict=True)),
                seconds=seconds,
                shared_seconds=shared_seconds,
                images_per_second=self._images / seconds,
                peak_memory=peak_memory(self.device),
            )
        )
        if self.epoch == 0:
            self._begin_stage()

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch; numbers up to 0: of the stage before training."""
        stage = self.loss.stage
        if stage and epoch <= 0:
            return stage.lr or float(self.recipe.lr)
        return learning_rate(self.recipe, epoch)

    @contextmanager
    def catch_failure(self) -> Iterator[None]:
        """Turn an error in the block into this run's failure, so that the cohort continues.

        Raises:
            Exception: Memory ran out, or a step could not be captured as a CUDA graph. Both errors
                concern all runs of the cohort.
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

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which `model` has its averaged weights, if the recipe has `ema`."""
        return self.average.applied() if self.average else nullcontext()

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors that are saved as the run's result, by name."""
        model = self.model
        with self.averaged():  # detached tensors keep their values after this block
            headed = isinstance(model, models.Headed)
            weights = model.weights() if headed else model.state_dict()
            return {name: value.detach() for name, value in weights.items()}

    def checkpoint(self) -> bytes:
        """Return everything that `restore` needs to resume after this epoch."""
        parts = {"network": self.net.state_dict(), "loss": self.loss.state_dict()}
        parts |= optimizers.state(self.optimizer)
        if self.average:
            parts["average"] = self.average.state()
        return encode(self.task.id, self.teacher_sha256, self.curves, parts)

    def restore(self, content: bytes) -> None:
        """Resume from a checkpoint; later epochs are the same as without an interruption.

        Args:
            content: A checkpoint of this run.

        Raises:
            Exception: The checkpoint is invalid; the trainer must not be used afterwards.
        """
        owner = self.task.id, self.teacher_sha256
        stage, names = 0, {False: set(self.loss.names())}
        if self.loss.stage:
            stage, names[True] = self.loss.stage.epochs, set(self.loss.names(pretraining=True))
        curves, parts = decode(content, *owner, range(1 - stage, self.recipe.epochs), names)
        self.net.load_state_dict(parts["network"])
        self.loss.load_state_dict(parts["loss"])
        self.curves, self.epoch = curves, len(curves) - stage
        self._begin_stage()
        optimizers.restore(self.optimizer, parts)
        if self.average:
            self.average.restore(parts["average"])
