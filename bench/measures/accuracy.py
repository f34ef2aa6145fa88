"""Accuracy over all images and per class, and agreement between two networks' predictions."""

import torch
from torch import Tensor

from bench.data.subset import rank
from bench.training.evaluation import is_in_top


def top1(predicted: Tensor, labels: Tensor) -> float:
    """Return the percentage of images whose predicted class (n,) is the label (n,)."""
    return 100 * float((predicted == labels).double().mean())


def per_class(predicted: Tensor, labels: Tensor, classes: int) -> list[float | None]:
    """Return the accuracy of each class in percent; None for a class without images.

    Args:
        predicted: The predicted classes (n,).
        labels: The true classes (n,).
        classes: Number of classes K.
    """
    counts = labels.bincount(minlength=classes).double()
    right = labels[predicted == labels].bincount(minlength=classes).double()
    return [
        100 * hits / count if count else None
        for hits, count in zip(right.tolist(), counts.tolist(), strict=True)
    ]


def balanced(predicted: Tensor, labels: Tensor, classes: int) -> float:
    """Return the mean of the accuracies of the classes that have images, in percent."""
    values = [value for value in per_class(predicted, labels, classes) if value is not None]
    return sum(values) / len(values)


def agreement(logits: Tensor, other: Tensor) -> float:
    """Return the percentage of images for which two networks predict the same class.

    Args:
        logits: A network's logits (n, K).
        other: The other network's logits (n, K), for the same images.
    """
    return top1(logits.argmax(1), other.argmax(1))


def teacher_in_top5(student: Tensor, teacher: Tensor) -> float:
    """Return how often the student's five most likely classes include the teacher's prediction.

    The value is a percentage of the images. With at most five classes, the value is 100.

    Args:
        student: The student's logits (n, K).
        teacher: The teacher's logits (n, K).
    """
    return 100 * float(is_in_top(student, teacher.argmax(1), 5).double().mean())


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return two masks (n,) that divide the images of each class into two halves.

    The division depends only on the labels and their order. If a class has an odd number of images,
    the first half has one image more.

    Args:
        labels: The true classes (n,).
    """
    first = (rank(labels.cpu()) % 2 == 0).to(labels.device)
    return first, torch.logical_not(first)
