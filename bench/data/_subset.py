"""Which images of a data set a selection means: fixed indices, the same for every seed and run."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.data._base import Facts, Selection
from bench.errors import BenchError


@dataclass(frozen=True)
class Places:
    """Indices into the whole training or test set, ascending."""

    train: Tensor  # (N,) int64
    validation: Tensor  # disjoint of train
    test: Tensor


def counted(selection: Selection, whole: Facts) -> Facts:
    """The facts of the selected part; BenchError, with all that is allowed, if there is no such."""
    problems = [*_size_problems(selection), *_count_problems(selection, whole)]
    if problems:
        raise BenchError(f"{selection.name}: " + "; ".join(problems))
    train, test = whole.train - selection.validation, whole.test
    fewest_train, fewest_test = whole.rarest
    fewest_train -= selection.validation // whole.classes
    if selection.per_class is not None:
        train, fewest_train = selection.per_class * whole.classes, selection.per_class
    if selection.test_per_class is not None:
        test, fewest_test = selection.test_per_class * whole.classes, selection.test_per_class
    return replace(
        whole,
        name=selection.name,
        size=selection.size or whole.size,
        train=train,
        test=test,
        fewest=(fewest_train, fewest_test),
    )


def _size_problems(selection: Selection) -> list[str]:
    if selection.size is None or selection.size >= 1:
        return []
    return [f"size {selection.size} is not a number of pixels; allowed: 1 or more"]


def _count_problems(selection: Selection, whole: Facts) -> list[str]:
    train, test = whole.rarest
    held, odd = divmod(selection.validation, whole.classes)
    most = (train - 1) * whole.classes
    if odd or not 0 <= held < train:
        return [
            f"validation {selection.validation} cannot be held out with as many images of each "
            f"class; allowed: multiples of {whole.classes} from 0 to {most}"
        ]
    beside = f" beside a validation split of {selection.validation}" if held else ""
    asked = (
        ("per_class", selection.per_class, train - held, "training", beside),
        ("test_per_class", selection.test_per_class, test, "test", ""),
    )
    return [
        f"{option} {value} is not possible; allowed: 1 to {limit}, the {what} images of the "
        f"rarest class{note}"
        for option, value, limit, what, note in asked
        if value is not None and not 1 <= value <= limit
    ]


def places(selection: Selection, classes: int, train: Tensor, test: Tensor) -> Places:
    """The images of a selection, given the labels (N,) of the whole training and test sets.

    Each class has one fixed order (`rank`). Its first `per_class` images are trained on and its
    last ones validated on: larger subsets contain smaller ones, and the validation split is the
    same beside each of them.
    """
    ranks, left = rank(train), torch.bincount(train, minlength=classes)[train]
    left -= selection.validation // classes
    validated = ranks >= left
    trained = ~validated
    if selection.per_class is not None:
        trained &= ranks < selection.per_class
    tested = torch.ones_like(test, dtype=torch.bool)
    if selection.test_per_class is not None:
        tested = rank(test) < selection.test_per_class
    return Places(*(mask.nonzero().squeeze(1) for mask in (trained, validated, tested)))


def rank(labels: Tensor) -> Tensor:
    """Each sample's place (N,) in its class, in the order of one fixed permutation of the set.

    The permutation is that of numpy's RandomState(0), whose stream numpy has frozen.
    """
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
    grouped = order[torch.argsort(labels[order], stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(labels)
    ranks[grouped] = torch.arange(len(labels)) - starts[labels[grouped]]
    return ranks
