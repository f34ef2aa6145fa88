"""The papers' recipe for CIFAR-100: what suites start from, and what reports measure others by.

CRD (arXiv:1910.10699), section 4, as github.com/HobbitLong/RepDistiller's train_student.py has it.
"""

from dataclasses import dataclass, replace
from typing import Literal

Precision = Literal["float32", "tf32", "bf16"]  # of the networks; losses are in float32
LIGHT = frozenset({"mobilenet_v2", "shufflenet_v1", "shufflenet_v2"})
LIGHT_RATE = 0.01  # CRD, section 4: found by grid search for these students


@dataclass(frozen=True)
class Recipe:
    """SGD with steps of the learning rate; the values are those of the papers."""

    epochs: int = 240
    batch_size: int = 64
    lr: float = 0.05
    milestones: tuple[int, ...] = (150, 180, 210)
    decay: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False
    crop: int = 4
    flip: bool = True
    resized_crop: bool = False
    precision: Precision = "float32"


PAPERS = Recipe()


def papers(student: str) -> Recipe:
    """The recipe with which the papers train a student, by the network's name."""
    return replace(PAPERS, lr=LIGHT_RATE) if student in LIGHT else PAPERS
