"""Choose the images that a `Selection` describes; the choice is the same for every seed and run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.data.base import UNLABELLED, Facts, Selection, Split
from bench.errors import BenchError
from bench.lazy import np, torch

if TYPE_CHECKING:
    from torch import Tensor


def selected_facts(selection: Selection, facts: Facts) -> Facts:
    """Return the facts of the selected part of a data set.

    Args:
        selection: the part of the data set.
        facts: the facts of the complete data set.

    Raises:
        BenchError: the selection is impossible; the message lists the errors and allowed values.

    """
    problems = _count_problems(selection, facts)
    if selection.split == "unlabelled":
        problems += _unlabelled_problems(selection, facts)
    if selection.size is not None and selection.size < 1:
        problems.append(f"size {selection.size} is not a number of pixels; allowed: 1 or more")
    if problems:
        raise BenchError(f"{selection.name}: " + "; ".join(problems))
    unused = selection.validation + selection.held_out  # images of the training set
    train, test = facts.train - unused, facts.test
    fewest_train, fewest_test = facts.rarest
    fewest_train -= unused // facts.classes
    counts = facts.class_counts and tuple(n - unused // facts.classes for n in facts.class_counts)
    if selection.per_class is not None:
        train, fewest_train = selection.per_class * facts.classes, selection.per_class
        counts = None
    if selection.test_per_class is not None:
        test, fewest_test = selection.test_per_class * facts.classes, selection.test_per_class
    if selection.held_out:
        test, fewest_test = selection.held_out, selection.held_out // facts.classes
    part = replace(
        facts,
        name=selection.name,
        size=selection.size or facts.size,
        train=train,
        test=test,
        fewest=(fewest_train, fewest_test),
        class_counts=counts,
    )
    if selection.split == "train":
        return part
    fingerprint = f"{facts.fingerprint}{UNLABELLED}{facts.unlabelled_fingerprint}"
    return replace(part, train=facts.unlabelled, fingerprint=fingerprint, labels="test")


def _unlabelled_problems(selection: Selection, facts: Facts) -> list[str]:
    problems = []
    if not facts.unlabelled:
        problems.append("the data set has no images without labels; allowed: split train")
    for option in ("per_class", "validation"):
        if value := getattr(selection, option):
            problems.append(f"{option} {value} is not possible with split unlabelled")
    return problems


def _count_problems(selection: Selection, facts: Facts) -> list[str]:
    train, test = facts.rarest
    note = ""
    for option, name in (("validation", "a validation split"), ("held_out", "held-out images")):
        images = getattr(selection, option)
        per_class, remainder = divmod(images, facts.classes)
        if remainder or not 0 <= per_class < train:
            return [
                f"{option} {images} is not possible: each class needs equally many images; "
                f"allowed: multiples of {facts.classes} from 0 to {(train - 1) * facts.classes}"
            ]
        train -= per_class
        note = f" with {name} of {images}" if images else note
    limits = (
        ("per_class", selection.per_class, train, "training", note),
        ("test_per_class", selection.test_per_class, test, "test", ""),
    )
    return [
        f"{option} {value} is not possible; allowed: 1 to {limit}, the number of {split} "
        f"images of the rarest class{with_validation}"
        for option, value, limit, split, with_validation in limits
        if value is not None and not 1 <= value <= limit
    ]


def select(
    selection: Selection, classes: int, train_labels: Tensor, test_labels: Tensor
) -> dict[Split, Tensor]:
    """Return the images of a selection: ascending indices of each split, (N,) int64.

    The images of a class have one fixed order (`rank`). The first `per_class` images are used for
    training, the last images for validation, and the images before these are held out in place of
    the test images. Therefore larger subsets contain smaller subsets, and the size of a subset does
    not change the validation split or the held-out images.

    Args:
        selection: the part of the data set, already checked by `selected_facts`.
        classes: number of classes K.
        train_labels: classes of the complete training set (N,) int64.
        test_labels: classes of the complete test set (N,) int64.

    Returns:
        Indices for `train`, `test` and, if the selection has it, `validation`. Indices for `test`
        refer to the complete test set, or to the complete training set if images are held out. All
        other indices refer to the complete training set.

    """
    ranks = rank(train_labels)
    remaining = torch.bincount(train_labels, minlength=classes)[train_labels]
    remaining -= selection.validation // classes
    masks: dict[Split, Tensor] = {}
    if selection.validation:
        masks["validation"] = ranks >= remaining
    test = torch.ones_like(test_labels).bool()
    if selection.test_per_class is not None:
        test = rank(test_labels) < selection.test_per_class
    if selection.held_out:
        before = remaining - selection.held_out // classes
        test, remaining = (ranks >= before) & (ranks < remaining), before
    masks |= {"train": ranks < remaining, "test": test}
    if selection.per_class is not None:
        masks["train"] &= ranks < selection.per_class
    return {split: mask.nonzero().squeeze(1) for split, mask in masks.items()}


def rank(labels: Tensor) -> Tensor:
    """Return the rank of each image within its class, in one fixed random order of all images.

    The order is a permutation from numpy's RandomState(0), because numpy guarantees that new
    versions draw the same numbers.

    Args:
        labels: classes of the images (N,) int64.

    Returns:
        Ranks (N,) int64, from 0 in each class.

    """
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
    grouped = order[torch.argsort(labels[order], stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(labels)
    ranks[grouped] = torch.arange(len(labels)) - starts[labels[grouped]]
    return ranks
