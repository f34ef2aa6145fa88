"""A small geometry: two networks' shapes, a batch, and distillers built for them.

All sizes are small and prime where they can be, and all differ, so that a swapped axis fails.
"""

import inspect
from typing import Any

import torch
from torch import Tensor

import distillers
from distillers import Batch, Distiller, Features, Setting, Shapes

B, K, D_S, D_T, N = 5, 7, 11, 13, 53
SMALL = {"negatives": 17, "width": 19}
STUDENT = Shapes(((3, 12, 8), (23, 6, 4), (D_S, 3, 2)), D_S, K)
TEACHER = Shapes(((2, 6, 4), (29, 6, 4), (D_T, 3, 2)), D_T, K)
TRAIN_LABELS = torch.arange(N) * 3 % K
INDEX = torch.tensor([2, 51, 17, 30, 8])
BATCH = Batch(TRAIN_LABELS[INDEX], INDEX)


def options(distiller: type[Distiller]) -> dict[str, int]:
    """Those of its options that the small geometry forces."""
    known = inspect.signature(distiller).parameters
    return {name: value for name, value in SMALL.items() if name in known}


def built(distiller: type[Distiller], seed: int, **more: Any) -> Distiller:
    torch.manual_seed(seed)
    setting = Setting(STUDENT, TEACHER, TRAIN_LABELS, torch.Generator().manual_seed(seed))
    return distiller(setting, **{**options(distiller), **more}).train()


def features(shapes: Shapes, seed: int, batch: int = B, *, grad: bool = False) -> Features:
    rng = torch.Generator().manual_seed(seed)

    def drawn(*size: int) -> Tensor:
        return torch.randn(batch, *size, generator=rng).requires_grad_(grad)

    stages = tuple(drawn(*shape) for shape in shapes.stages)
    return Features(stages, drawn(shapes.pooled), drawn(shapes.logits))


def student(seed: int = 0) -> Features:
    return features(STUDENT, seed, grad=True)


def teacher(seed: int = 1) -> Features:
    return features(TEACHER, seed)


def tensors(seen: Features) -> list[Tensor]:
    return [*seen.stages, seen.pooled, seen.logits]


def of_tap(seen: Features, tap: str) -> tuple[Tensor, ...]:
    value = getattr(seen, tap)
    return value if isinstance(value, tuple) else (value,)


def doubled(seen: Features) -> Features:
    stages = tuple(x.detach().double() for x in seen.stages)
    return Features(stages, seen.pooled.detach().double(), seen.logits.detach().double())


def pooled(*rows: Any) -> Features:
    """Features that are nothing but these pooled rows, in double precision."""
    x = torch.as_tensor(rows, dtype=torch.float64) if len(rows) > 1 else rows[0].double()
    return Features((), x.clone().requires_grad_(), torch.zeros(len(x), 2))


def shapes(seen: Features) -> Shapes:
    stages = tuple(tuple(x.shape[1:]) for x in seen.stages)
    return Shapes(stages, seen.pooled.shape[1], seen.logits.shape[1])


def made(name: str, **more: Any) -> Distiller:
    """A distiller for the small geometry, in double precision."""
    return built(distillers.load(name), 0, **more).double()


def made_for(
    name: str, s: Features, t: Features, labels: Tensor | None = None, **more: Any
) -> Distiller:
    """A distiller for two networks with these features."""
    torch.manual_seed(0)
    labels = TRAIN_LABELS if labels is None else labels
    setting = Setting(shapes(s), shapes(t), labels, torch.Generator().manual_seed(0))
    return distillers.load(name)(setting, **more).to(s.pooled.dtype)


S, T = doubled(student()), doubled(teacher())


def value(name: str, s: Features, t: Features, **more: Any) -> Tensor:
    """The distiller's loss for these features, in double precision."""
    return made(name, **more)(s, t, BATCH)
