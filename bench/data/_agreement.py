"""Whether the arrays that a source read are those that its facts promise."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.data._base import Arrays, Facts
from bench.errors import BenchError


def agreeing(whole: Arrays, facts: Facts) -> Arrays:
    """The same arrays; BenchError that lists all differences from the facts."""
    least_train, least_test = facts.rarest
    problems = [
        *_differences("train", whole.train, facts.train, facts.size),
        *_differences("test", whole.test, facts.test, facts.size),
        *_mislabelled("train", whole.train_labels, facts.train, (facts.classes, least_train)),
        *_mislabelled("test", whole.test_labels, facts.test, (facts.classes, least_test)),
    ]
    if problems:
        raise BenchError(f"{facts.name}: what was read is not as promised: " + "; ".join(problems))
    return whole


def _differences(split: str, images: Tensor, count: int, size: int) -> Iterator[str]:
    grey, coloured = (count, 1, size, size), (count, 3, size, size)
    if images.dtype != torch.uint8 or tuple(images.shape) not in (grey, coloured):
        found = f"{images.dtype} {tuple(images.shape)}"
        yield f"{split} images are {found}, not torch.uint8 {coloured} or {grey}"


def _mislabelled(
    split: str, labels: Tensor, count: int, promised: tuple[int, int]
) -> Iterator[str]:
    classes, rarest = promised
    if labels.dtype != torch.int64 or tuple(labels.shape) != (count,):
        yield f"{split} labels are {labels.dtype} {tuple(labels.shape)}, not torch.int64 ({count},)"
    elif int(labels.min()) < 0 or int(labels.max()) >= classes:
        yield f"{split} labels are {labels.min()} to {labels.max()}, not 0 to {classes - 1}"
    elif (found := int(torch.bincount(labels, minlength=classes).min())) != rarest:
        yield f"the rarest class has {found} {split} images, not {rarest}"
