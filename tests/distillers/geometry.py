"""A small geometry: two networks' shapes, a batch, and distillers built for them.

All sizes are small, prime where possible, and different, so that a swapped axis fails.
"""

import inspect
from typing import Any

import torch
from torch import Tensor

import distillers
from distillers import Batch, Distiller, Features, Incompatible, Setting, Shapes, contract

B, K, D_S, D_T, N = 5, 7, 11, 13, 53
SMALL_OPTIONS = {"negatives": 17, "width": 19}
STUDENT = Shapes(
    ((3, 12, 8), (23, 6, 4), (D_S, 3, 2)),
    D_S,
    K,
    preactivations=((3, 12, 8), (23, 6, 4), (D_S, 3, 2)),
    stem=(2, 12, 8),
    pooled_map=(D_S, 3, 2),
    classifier=True,
    norms=(3, 23, D_S),
    distilled=True,
)
TEACHER = Shapes(
    ((2, 6, 4), (29, 6, 4), (D_T, 3, 2)),
    D_T,
    K,
    preactivations=((2, 6, 4), (29, 6, 4), (D_T, 3, 2)),
    stem=(19, 12, 8),
    pooled_map=(D_T, 3, 2),
    classifier=True,
    norms=(2, 29, D_T),
    distilled=True,
)
TEACHERS = (TEACHER, STUDENT)  # the second, for distillers that need equal channels
TRAIN_LABELS = torch.arange(N) * 3 % K
INDEX = torch.tensor([2, 51, 17, 30, 8])
BATCH = Batch(TRAIN_LABELS[INDEX], INDEX)


def small_options(distiller: type[Distiller]) -> dict[str, int]:
    """Return the options that must be small for this geometry."""
    names = inspect.signature(distiller).parameters
    return {name: value for name, value in SMALL_OPTIONS.items() if name in names}


def build(
    distiller: type[Distiller], seed: int, teacher: Shapes = TEACHER, **options: Any
) -> Distiller:
    """Return a distiller for the small geometry; `seed` sets its weights and randomness."""
    torch.manual_seed(seed)
    setting = Setting(STUDENT, teacher, TRAIN_LABELS, torch.Generator().manual_seed(seed))
    return distiller(setting, **{**small_options(distiller), **options}).train()


class Subject:
    """A distiller with options, built with a seed, and a teacher that it is compatible with."""

    def __init__(self, distiller: type[Distiller], **options: Any) -> None:
        self.distiller, self.options = distiller, options
        self.teacher_shapes = next(filter(self.fits, TEACHERS), TEACHER)

    def fits(self, teacher: Shapes) -> bool:
        try:
            build(self.distiller, 0, teacher, **self.options)
        except Incompatible:
            return False
        return True

    def __call__(self, seed: int) -> Distiller:
        return build(self.distiller, seed, self.teacher_shapes, **self.options)

    def teacher(self, seed: int = 1, batch: int = B) -> Features:
        return random_features(self.teacher_shapes, seed, batch)


def build_double(name: str, **options: Any) -> Distiller:
    """Return a distiller for the small geometry, in double precision."""
    return build(distillers.load(name), 0, **options).double()


def build_for(
    name: str, student: Features, teacher: Features, labels: Tensor | None = None, **options: Any
) -> Distiller:
    """Return a distiller for two networks with these features."""
    torch.manual_seed(0)
    labels = TRAIN_LABELS if labels is None else labels
    rng = torch.Generator().manual_seed(0)
    setting = Setting(shapes_of(student), shapes_of(teacher), labels, rng)
    return distillers.load(name)(setting, **options).to(student.pooled.dtype)


def random_features(shapes: Shapes, seed: int, batch: int = B, *, grad: bool = False) -> Features:
    rng = torch.Generator().manual_seed(seed)
    return contract.random_features(shapes, batch, rng, grad=grad)


def random_student(seed: int = 0) -> Features:
    return random_features(STUDENT, seed, grad=True)


def random_teacher(seed: int = 1) -> Features:
    return random_features(TEACHER, seed)


def to_double(features: Features) -> Features:
    """Return a copy in double precision, without gradient."""
    return features.map(lambda x: x.detach().double())


def pooled_features(*rows: Any) -> Features:
    """Return features with these pooled rows only, in double precision."""
    x = torch.as_tensor(rows, dtype=torch.float64) if len(rows) > 1 else rows[0].double()
    return Features((), x.clone().requires_grad_(), torch.zeros(len(x), 2))


def shapes_of(features: Features) -> Shapes:
    def sizes(maps: Any) -> Any:
        return tuple(tuple(x.shape[1:]) for x in maps if x is not None)

    return Shapes(
        sizes(features.stages),
        features.pooled.shape[1],
        features.logits.shape[1],
        sizes(features.preactivations),
        next(iter(sizes([features.stem])), None),
        next(iter(sizes([features.pooled_map])), None),
        features.classifier is not None,
        tuple(len(norm.weight) for norm in features.norms),
        distilled=features.distilled is not None,
    )


S, T = to_double(random_student()), to_double(random_teacher())


def loss_of(name: str, student: Features, teacher: Features, **options: Any) -> Tensor:
    """Return a distiller's loss for these features, in double precision."""
    return build_double(name, **options)(student, teacher, BATCH)
