'''The contract of a distiller, for authors of a new one.

A distiller is a loss between a student and a teacher on one batch. It sees their features and the
labels; it never sees images, networks or the optimiser. Write one class in a file of your own and
name that file under `plugins:` in a suite. The class's name in lower case is the distiller's name.

A complete example, which the contract tests also run:

    """Match the teacher's logits, blurred by noise."""

    import torch
    import torch.nn.functional as F
    from torch import Tensor

    from distillers import Batch, Distiller, Features, Setting
    from distillers.base import NonNegative


    class NoisyLogits(Distiller):
        """L = mean_ik (z_s - (1 + σ ξ_i) z_t)²_ik, ξ_i drawn from N(0, 1) for each sample.

        z_s, z_t (B, K) are the logits of the student and the teacher. `noise` is σ, at least 0,
        by default 0.1. Evaluation mode adds no noise.
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
                target = target * (1 + self.noise * draw)  # a new tensor: inputs are never changed
            return F.mse_loss(student.logits, target)

The rules follow. `tests/distillers/contract.py` checks all but rule 9 for every distiller.

1. `forward` returns a finite scalar, also for a batch of one sample.
2. It reads only the features that `reads` declares. With `uses_teacher = False` the loss does not
   depend on the teacher.
3. The gradient reaches each declared feature of the student and each parameter, and nothing else.
4. Random numbers come from `self.rng`, never from torch's, numpy's or Python's global generators.
5. `forward` never waits for the device: no `.item()`, no `x[x > 0]`, no `if` on a tensor.
6. `forward` never writes to the features. It changes its own buffers in place, and only in
   training mode; in evaluation mode it changes nothing, its random stream included.
7. `state_dict()` is all that is needed to resume.
8. Options are keyword-only arguments of `__init__` with a type and a default. The signature is the
   schema: a suite that sets an option out of its type's bounds gets an error with the line.
   This module defines types with bounds; `Literal[...]` and `bool` also work.
9. `__init__` raises `Incompatible` if the loss does not fit the networks or the data set.
10. The class docstring holds the formula, `L = ...`, and `paper` holds the source.

Letters for shapes in this package: B samples in a batch, K classes, N training samples, D pooled
features, C channels, H x W a map's height and width, M negatives. A subscript s is the student's,
t the teacher's.
'''

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

# Types of options. A suite's value must lie within the bounds.
Count = Annotated[int, Ge(1)]
StageIndex = Annotated[int, Ge(0)]  # from 0, the earliest stage
Width = Annotated[int, Ge(1), Le(65_536)]  # of an embedding
Rounds = Annotated[int, Ge(1), Le(10_000)]  # of an iterative solver
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]

FeatureName = Literal["stages", "pooled", "logits"]  # the fields of `Features`, early to late


class Incompatible(ValueError):
    """A distiller does not fit the networks or the data set; the message says why."""


@dataclass(frozen=True)
class Features:
    """The features that one network computes for one batch.

    Attributes:
        stages: The last map of each stage, each (B, C, H, W), from early to late.
        pooled: The input of the classifier, (B, D).
        logits: The output of the classifier, (B, K).
    """

    stages: tuple[Tensor, ...]
    pooled: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Shapes:
    """The shapes of `Features` without the batch dimension, known before training.

    Attributes:
        stages: (C, H, W) of each stage's map, from early to late.
        pooled: D, the number of pooled features.
        logits: K, the number of classes.
    """

    stages: tuple[tuple[int, int, int], ...]
    pooled: int
    logits: int


@dataclass(frozen=True)
class Batch:
    """The labels of one batch, and the place of each sample in the training set.

    Attributes:
        labels: The true classes, (B,) int64, from 0 to K - 1.
        index: Each sample's row in the training set, (B,) int64, from 0 to N - 1.
    """

    labels: Tensor
    index: Tensor


@dataclass(frozen=True)
class Setting:
    """Everything a distiller may know before training.

    Attributes:
        student: The shapes of the student's features.
        teacher: The shapes of the teacher's features.
        train_labels: The classes of all training samples, (N,) int64, on the training device.
        rng: A random stream on the training device, used by this distiller only.
    """

    student: Shapes
    teacher: Shapes
    train_labels: Tensor
    rng: torch.Generator


class Distiller(nn.Module, ABC):
    """A loss that compares a student with a teacher on one batch.

    The module docstring lists the rules for a subclass and shows a complete one. Parameters are
    trained with the student, by its optimiser. Buffers are saved and restored, but not trained.

    Attributes:
        paper: Authors, title, venue, year and arXiv number.
        reads: The names of the fields of `Features` that the loss may use, of both networks.
        uses_teacher: Whether the loss depends on the teacher. If no distiller of a method does,
            the teacher's forward pass is skipped.
        undecayed: The names of parameters that are exempt from weight decay.
        note: A caveat that tables mark with a dagger, for example "reconstruction".
        rng: The random stream, on the training device.

    Args:
        setting: The two networks' shapes, the training labels and the random stream.

    Raises:
        Incompatible: The loss is not defined for these networks or this training set.
    """

    paper: ClassVar[str]
    reads: ClassVar[tuple[FeatureName, ...]]
    uses_teacher: ClassVar[bool] = True
    undecayed: ClassVar[tuple[str, ...]] = ()
    note: ClassVar[str] = ""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.rng = setting.rng

    @abstractmethod
    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the loss of one batch.

        Args:
            student: The student's features; the gradient flows to them.
            teacher: The teacher's features, without gradient.
            batch: The same B samples' labels and rows in the training set.

        Returns:
            A scalar, averaged over the batch, before the weight that the suite gives it.
        """

    def get_extra_state(self) -> Tensor:
        """Return the state of the random stream, which `state_dict()` then includes."""
        return self.rng.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Set the random stream to a saved state.

        Args:
            state: A result of `get_extra_state`, on any device.
        """
        self.rng.set_state(state.cpu())
