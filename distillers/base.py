'''The interface of a distiller: an example, the rules, and the types that distillers use.

A distiller is a loss that compares a student network with a teacher network on one batch. It sees
the features of both networks and the labels, but not the images, the networks or the optimiser.
To add a distiller, write one class in a new file and list that file under `plugins:` in a suite
(a benchmark's YAML file). The class name in lower case is the distiller's name.

A complete example, which the contract tests also run:

    """Match the teacher's logits, blurred by noise."""

    import torch
    import torch.nn.functional as F
    from torch import Tensor

    from distillers import Batch, Distiller, Features, Setting
    from distillers.base import NonNegative


    class NoisyLogits(Distiller):
        """L = mean_ik (z_s - (1 + σ ξ_i) z_t)²_ik, ξ_i drawn from N(0, 1) for each sample.

        z_s, z_t (B, K) are the logits of the student and the teacher; i is a sample, k a class.
        `noise` is σ, at least 0, by default 0.1. Evaluation mode adds no noise.
        """

        paper = "None: the example of distillers/base.py. 2026"
        reads = ("logits",)

        def __init__(self, setting: Setting, *, noise: NonNegative = 0.1) -> None:
            super().__init__(setting)
            self.noise = noise

        def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
            """Return the mean squared error of the logits."""
            target = teacher.logits
            if self.training:
                size = (len(target), 1)
                draw = torch.randn(size, generator=self.rng, device=target.device)
                target = target * (1 + self.noise * draw)  # a new tensor: the input is unchanged
            return F.mse_loss(student.logits, target)

The rules follow. `tests/distillers/contract.py` checks all except rule 9 for every distiller.

1. `forward` returns a finite scalar, even for a batch of one sample.
2. `forward` uses only the features that `reads` lists. If `uses_teacher` is False, the loss does
   not depend on the teacher.
3. Gradients flow to all listed features of the student and to all parameters of the distiller,
   but to no other tensor.
4. Random numbers come from `self.rng`, never from torch's, numpy's or Python's global generators.
5. `forward` never makes the CPU wait for the GPU: no `.item()`, no `x[x > 0]`, no `if` on a tensor.
6. `forward` never writes to the features. In training mode it may update the distiller's buffers,
   in place. In evaluation mode it changes nothing, not even the state of `self.rng`.
7. `state_dict()` holds everything that a resumed training needs from the distiller.
8. Options are keyword-only arguments of `__init__` with a type and a default. If a suite sets an
   option to a value outside the type's bounds, the error message names the line in the suite.
   This module defines types with bounds; `Literal[...]` and `bool` also work.
9. `__init__` raises `Incompatible` if the loss does not fit the networks or the data set. A loss
   that reads `batch.labels` or `batch.index` declares `needs_labels`; a cross-entropy that reads
   `batch.target` does not need to, but declares `uses_labels`.
10. The class docstring contains the formula, `L = ...`. The attribute `paper` names the source.

A distiller can do more; each possibility has a default, so most distillers do not mention it:

- Optional features, such as `preactivations` or `classifier`: `reads` names them. `teacher_reads`
  names the teacher's, if they differ from the student's. `setting.student` and `setting.teacher`
  have their shapes. A pair of networks without these features is skipped with the reason.
- A schedule: `batch.epoch` and `batch.epochs`. To let the loss's weight grow over the first 20
  epochs, no code is needed: set `warmup: 20` in the suite.
- A stage before training: `pretraining` and `pretrain`.
- A head that replaces the student's classifier at test time: `predict`.
- A second, strongly augmented view of the images: `reads = ("strong",)`.

A complete example with a stage, a head, a schedule and optional features, also tested:

    """Match codes of the teacher's map, and predict with the teacher's classifier."""

    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from distillers import Batch, Distiller, Features, Setting
    from distillers.base import Count, Pretraining


    class Coded(Distiller):
        """L = (e / E) mean (D(P m_s) - m_t)² in epoch e of E.

        m_s (B, D_s, H, W) and m_t (B, D_t, H, W) are the maps that are pooled. P is a trained
        projector. Before training, the encoder C and the decoder D learn to reconstruct m_t, with
        L = mean (D(C m_t) - m_t)². The teacher's classifier, applied to the mean of D(P m_s) over
        the positions, returns the logits.
        """

        paper = "None: the second example of distillers/base.py. 2026"
        reads = ("pooled_map",)
        teacher_reads = ("pooled_map", "classifier")

        def __init__(self, setting: Setting, *, width: Count = 16, stage: Count = 5) -> None:
            super().__init__(setting)
            student, teacher = setting.student, setting.teacher
            self.encoder = nn.Conv2d(teacher.pooled, width, 1)
            self.decoder = nn.Conv2d(width, teacher.pooled, 1)
            self.projector = nn.Conv2d(student.pooled, width, 1)
            self.classifier = nn.Linear(teacher.pooled, teacher.logits).requires_grad_(False)
            learning = ("encoder", "decoder")  # in this stage only
            self.pretraining = Pretraining(stage, student=False, parameters=learning)

        def pretrain(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
            """Return the error of reconstruction; `student` is None in this stage."""
            return F.mse_loss(self.decoder(self.encoder(teacher.pooled_map)), teacher.pooled_map)

        def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
            """Return the error of the student's map after the decoder."""
            if self.training:
                with torch.no_grad():  # the head's copy of the teacher's classifier
                    self.classifier.weight.copy_(teacher.classifier.weight)
                    self.classifier.bias.copy_(teacher.classifier.bias)
            mapped = F.adaptive_avg_pool2d(self.mapped(student), teacher.pooled_map.shape[2:])
            return batch.epoch / batch.epochs * F.mse_loss(mapped, teacher.pooled_map)

        def mapped(self, student: Features) -> Tensor:
            """Return D(P m_s)."""
            return F.conv2d(
                self.projector(student.pooled_map),
                self.decoder.weight.detach(),
                self.decoder.bias.detach(),
            )

        def predict(self, student: Features) -> Tensor:
            """Return the logits of the teacher's classifier."""
            return self.classifier(self.mapped(student).mean((2, 3)))

Shapes in this package use these letters: B samples in a batch, K classes, N training samples,
D pooled features, C channels, H and W the height and width of a feature map, M negatives per
sample. Subscript s marks the student, subscript t the teacher. <a, b> is an inner product.
CRD is the paper arXiv:1910.10699. RepDistiller is the code of CRD's authors
(github.com/HobbitLong/RepDistiller).
'''

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from distillers.declaration import (
    BatchSize,
    Count,
    Declaration,
    FeatureName,
    Fraction,
    NegativesFrom,
    NonNegative,
    Positive,
    Rounds,
    StageIndex,
    Width,
    has_head,
    reads_of_teacher,
)

__all__ = [
    "UNREAD",
    "Affine",
    "Batch",
    "BatchSize",
    "Count",
    "Declaration",
    "Distiller",
    "FeatureName",
    "Features",
    "Fraction",
    "Incompatible",
    "MixedBatch",
    "NegativesFrom",
    "NonNegative",
    "Positive",
    "Pretraining",
    "Rounds",
    "Setting",
    "Shapes",
    "StageIndex",
    "UnlabelledBatch",
    "Width",
    "has_head",
    "reads_of_teacher",
    "require",
    "require_labels",
    "require_one_teacher",
    "stage_of",
]
UNREAD: Any = None  # the value of an optional field that no distiller of the run reads


class Incompatible(ValueError):
    """A distiller does not fit the networks or the data set; the message says why."""


@dataclass(frozen=True)
class Affine:
    """A layer's weight and bias, with gradients if the layer belongs to the student.

    Attributes:
        weight: (K, D) of a classifier; (C,) of a batch norm.
        bias: (K,) or (C,); None if the layer has no bias.
    """

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Features:
    """The features that one network computes for one batch.

    The fields after `logits` are filled only if a distiller of the run lists them in `reads`.

    Attributes:
        stages: The last feature map of each stage, (B, C, H, W), in the order of the layers. A
            stage is a group of layers with the same resolution.
        pooled: The input of the classifier, (B, D).
        logits: The output of the classifier, (B, K).
        preactivations: The map of each stage before its last ReLU, (B, C, H, W). Where the ReLU
            comes only after the stage, as in a wide ResNet, this is the input of that ReLU.
        stem: The map before the first stage, (B, C, H, W).
        pooled_map: The map whose mean over the positions is `pooled`, (B, D, H, W). It differs from
            the last stage in a wide ResNet, MobileNetV2 and ShuffleNetV2.
        classifier: The parameters of the classifier: logits = pooled Wᵀ + b.
        norms: The scale γ and shift β, each (C,), of the batch norm in front of each stage's ReLU.
        strong: The features of a second, strongly augmented view of the same images.
        distilled: The logits of a second classifier, (B, K), which learns from the teacher, as that
            of DeiT's distillation token. If a loss of the run reads this field, `logits` are those
            of the first classifier in training mode. Otherwise they are the mean of both.
    """

    stages: tuple[Tensor, ...]
    pooled: Tensor
    logits: Tensor
    preactivations: tuple[Tensor, ...] = ()
    stem: Tensor = UNREAD
    pooled_map: Tensor = UNREAD
    classifier: Affine = UNREAD
    norms: tuple[Affine, ...] = ()
    strong: "Features" = UNREAD
    distilled: Tensor = UNREAD

    def map(self, function: Callable[[Tensor], Tensor]) -> "Features":
        """Return the features with a function applied to each tensor.

        Args:
            function: Maps a tensor to a tensor, for example `Tensor.detach`.
        """
        return cast("Features", _map(function, self))

    def tensors(self) -> list[Tensor]:
        """Return the tensors of all fields."""
        tensors: list[Tensor] = []
        self.map(lambda tensor: tensors.append(tensor) or tensor)  # type: ignore[func-returns-value]
        return tensors


def _map(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    # A nested function that calls itself is a reference cycle: it would keep the tensors in memory
    # until Python's garbage collector runs.
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_map(function, item) for item in value)
    if isinstance(value, Features | Affine):
        return type(value)(*(_map(function, getattr(value, f.name)) for f in fields(value)))
    return value


@dataclass(frozen=True)
class Shapes:
    """The shapes of `Features` without the batch dimension, known before training.

    Attributes:
        stages: (C, H, W) of each stage's feature map, in the order of the layers.
        pooled: D, the number of pooled features.
        logits: K, the number of classes.
        preactivations: (C, H, W) of each pre-activation map; () if the network has none.
        stem: (C, H, W) of the stem's map; None if the network has none.
        pooled_map: (D, H, W) of the map that is pooled; None if the network has none.
        classifier: Whether the classifier is a linear layer, which distillers may read.
        norms: C of each stage's last batch norm; () if the network has none.
        missing: Why the network does not have a field, as pairs of a field's name and a reason.
        distilled: Whether the network has a second classifier, which learns from the teacher.
    """

    stages: tuple[tuple[int, int, int], ...]
    pooled: int
    logits: int
    preactivations: tuple[tuple[int, int, int], ...] = ()
    stem: tuple[int, int, int] | None = None
    pooled_map: tuple[int, int, int] | None = None
    classifier: bool = False
    norms: tuple[int, ...] = ()
    missing: tuple[tuple[FeatureName, str], ...] = ()
    distilled: bool = False


@dataclass(frozen=True)
class Batch:
    """The labels of one batch, and the position of each sample in the training set.

    Attributes:
        labels: The true classes, (B,) int64, from 0 to K - 1.
        index: Each sample's position in the training set, (B,) int64, from 0 to N - 1.
        epoch: The number of the epoch, from 1: a scalar tensor on the training device.
            A schedule is a tensor expression, such as `(batch.epoch / 20).clamp(max=1)`.
        epochs: The number of epochs of the training, or of the stage before it.
        targets: The probability of each class, (B, K), if the recipe mixes images (mixup, cutmix)
            or smooths labels.
    """

    labels: Tensor
    index: Tensor
    epoch: Tensor = field(default_factory=lambda: torch.ones(()))
    epochs: int = 1
    targets: Tensor = UNREAD

    @property
    def target(self) -> Tensor:
        """The target of a cross-entropy: `targets` if the recipe sets them, else `labels`."""
        return self.labels if self.targets is UNREAD else self.targets


class MixedBatch(Batch):
    """A batch of mixed images, for distillers that do not declare `needs_labels`.

    Each image is a mixture of two, so it has neither a single label nor a single index.
    """

    def __getattribute__(self, name: str) -> Any:
        """Return an attribute; raise Incompatible for the labels and the indices."""
        if name in ("labels", "index"):
            raise Incompatible(
                f"batch.{name} does not exist, because the recipe mixes images (mixup, cutmix). "
                "Allowed: batch.targets, or `needs_labels = True` in the distiller's class, which "
                "excludes it from such recipes"
            )
        return super().__getattribute__(name)


class UnlabelledBatch(Batch):
    """A batch of images without labels, for runs that learn from the teacher alone."""

    def __getattribute__(self, name: str) -> Any:
        """Return an attribute; raise Incompatible for the labels and the targets."""
        if name in ("labels", "targets", "target"):
            raise Incompatible(
                f"batch.{name} does not exist, because the images have no labels. Allowed: "
                "`uses_labels = True` in the distiller's class, which excludes it from such images"
            )
        return super().__getattribute__(name)


@dataclass(frozen=True)
class Pretraining:
    """A stage before training, with SGD and a constant learning rate.

    Momentum, weight decay and batches are as in the recipe. After this stage, the training begins
    with a new optimiser.

    Attributes:
        epochs: The number of epochs of the stage.
        lr: The learning rate; 0 means the recipe's.
        student: Whether the student learns. If not, its forward pass is skipped, and `pretrain`
            receives None in place of the student's features.
        parameters: Names of the distiller's parameters, or of its modules, that learn in this stage
            only.
        only: Whether the distiller has no loss after this stage. Its weight is then ignored.
    """

    epochs: int
    lr: float = 0.0
    student: bool = True
    parameters: tuple[str, ...] = ()
    only: bool = False


@dataclass(frozen=True)
class Setting:
    """The information that a distiller's constructor receives.

    Attributes:
        student: The shapes of the student's features.
        teacher: The shapes of the teacher's features.
        train_labels: The classes of all training samples, (N,) int64, on the training device.
        rng: A random generator on the training device, used by this distiller only.
    """

    student: Shapes
    teacher: Shapes
    train_labels: Tensor
    rng: torch.Generator


class Distiller(Declaration, nn.Module, ABC):
    """A loss that compares a student with a teacher on one batch.

    The module docstring lists the rules for a subclass and shows a complete example. `Declaration`
    has the attributes that a subclass may declare. The student's
    optimiser also trains the distiller's parameters. Buffers are saved and restored, not trained.

    Attributes:
        pretraining: The stage before training; None if there is none. `__init__` may set it, for
            example from an option.
        rng: The random generator, on the training device.

    Args:
        setting: The two networks' shapes, the training labels and the random generator.

    Raises:
        Incompatible: The loss is not defined for these networks or this training set.
    """

    pretraining: Pretraining | None = None

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.rng = setting.rng

    @abstractmethod
    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the loss of one batch.

        Args:
            student: The student's features; the gradient flows to them.
            teacher: The teacher's features, without gradient.
            batch: The labels of the same B samples, and their positions in the training set.

        Returns:
            A scalar, averaged over the batch. The caller multiplies it by the suite's weight.
        """

    def pretrain(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the loss of one batch in the stage before training; by default `forward`.

        Args:
            student: The student's features; None if the stage does not train the student.
            teacher: The teacher's features, without gradient.
            batch: As in `forward`; `epoch` and `epochs` count the epochs of this stage.

        Returns:
            A scalar.
        """
        loss: Tensor = self(student, teacher, batch)
        return loss

    def get_extra_state(self) -> Tensor:
        """Return the state of the random generator; `state_dict()` includes this state."""
        return self.rng.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Set the random generator to a saved state.

        Args:
            state: A result of `get_extra_state`, on any device.
        """
        self.rng.set_state(state.cpu())


def require_labels(distiller: type[Distiller], options: Mapping[str, object]) -> None:
    """Raise Incompatible if a loss needs the labels of images that have none.

    Args:
        distiller: The distiller's class.
        options: The loss's options.
    """
    uses, name = distiller.uses_labels, distiller.__name__.lower()
    if not (distiller.needs_labels if uses is None else uses):
        return
    free = distiller.label_free
    if free and all(options.get(key) == value for key, value in free.items()):
        return
    fixes = "".join(f", or {name}: {{{key}: {value}}}" for key, value in free.items())
    raise Incompatible(
        f"{name} needs labels in the teacher's classes, which the student's images do not have. "
        f"Allowed: losses that need no labels{fixes}"
    )


def stage_of(term: nn.Module) -> Pretraining | None:
    """Return a distiller's stage before training; None if it has none, or one without epochs."""
    stage = getattr(term, "pretraining", None)
    return stage if isinstance(stage, Pretraining) and stage.epochs else None


def require(
    distiller: type[Distiller], student: Shapes, teacher: Shapes, *, mixed: bool = False
) -> None:
    """Check that the networks have the features, and the images the labels, that a loss needs.

    Args:
        distiller: The distiller's class.
        student: The shapes of the student's features.
        teacher: The shapes of the teacher's features; ignored if the distiller does not use them.
        mixed: Whether the recipe mixes images (mixup, cutmix).

    Raises:
        Incompatible: A network does not have a field, or the loss needs single labels, which mixed
            images do not have. The message contains the reason.
    """
    if mixed and distiller.needs_labels:
        raise Incompatible(
            f"{distiller.__name__.lower()} needs the label or the index of each image, which mixed "
            "images do not have. Allowed: a recipe without mixup and cutmix"
        )
    networks = {"student": (student, distiller.reads)}
    if distiller.uses_teacher:
        networks["teacher"] = teacher, reads_of_teacher(distiller)
    for role, (shapes, reads) in networks.items():
        for name, reason in shapes.missing:
            if name in reads:
                raise Incompatible(f"the {role} has no {name}: {reason}")


def require_one_teacher(distiller: Distiller, members: int) -> None:
    """Check that a distiller can learn from an ensemble of this many members.

    Raises:
        Incompatible: There are several members, and the distiller has a head or a stage before
            training, which learn from one teacher.
    """
    if members > 1 and (has_head(type(distiller)) or distiller.pretraining):
        name = type(distiller).__name__.lower()
        part = "head" if has_head(type(distiller)) else "stage before training"
        raise Incompatible(
            f"the {part} of {name} learns from one teacher, not from {members} members"
        )
