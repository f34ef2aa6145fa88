"""What a distiller is, and all that it may know.

Letters used for shapes throughout this package:
    B batch   K classes   N training samples   D pooled width   C, H, W a stage's map   M negatives
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Tap = Literal["stages", "pooled", "logits"]


class Incompatible(ValueError):
    """Two networks, or a data set, on which a method is not defined; the message is the reason."""


@dataclass(frozen=True)
class Features:
    """One network's view of one batch."""

    stages: tuple[Tensor, ...]  # each (B, C, H, W), the last map of a stage
    pooled: Tensor  # (B, D), what the classifier reads
    logits: Tensor  # (B, K)


@dataclass(frozen=True)
class Shapes:
    """`Features` without the batch: known before the first image is seen."""

    stages: tuple[tuple[int, int, int], ...]  # each (C, H, W)
    pooled: int
    logits: int


@dataclass(frozen=True)
class Batch:
    """What the data set says of a batch, beside its images."""

    labels: Tensor  # (B,) int64
    index: Tensor  # (B,) int64, each sample's place in the training set


@dataclass(frozen=True)
class Setting:
    """All that is fixed before training: the two networks, the labels, the randomness."""

    student: Shapes
    teacher: Shapes
    train_labels: Tensor  # (N,) int64, on the training device
    rng: torch.Generator  # on the training device, this term's own


class Distiller(nn.Module, ABC):
    """A loss that compares a student with a teacher on one batch.

    Subclass it in a file of your own; its name in suites is the class's name in lower case.
    Parameters are trained along with the student; buffers are kept and saved but not trained;
    random numbers come from `self.rng`. Options are keyword-only arguments of `__init__` with a
    type, its bounds (`_options.py`) and a default: the signature is the schema. Raise
    `Incompatible` in `__init__` where two networks do not fit. `forward` never waits for the
    device (`.item()`, `x[x > 0]`), never writes to the networks' tensors, and changes its buffers
    in place, only in training mode.
    """

    paper: ClassVar[str]  # authors, title, venue, arXiv number
    reads: ClassVar[tuple[Tap, ...]]  # the fields of both networks' `Features` that it may use
    taught: ClassVar[bool] = True  # False: the teacher is not asked for it alone
    undecayed: ClassVar[tuple[str, ...]] = ()  # its parameters that weight decay must leave alone
    note: ClassVar[str] = ""  # a caveat that tables mark with a dagger, e.g. "reconstruction"

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.rng = setting.rng

    @abstractmethod
    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The loss, a scalar: a mean over the batch, before the suite's weight."""

    def get_extra_state(self) -> Tensor:
        """The random stream's state, so that `state_dict()` is all there is to resume."""
        return self.rng.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue the random stream from a saved state."""
        self.rng.set_state(state.cpu())
