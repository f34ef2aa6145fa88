"""Similarity of two networks' features on the same images."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bench.measures.readout import POOLED


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Return the linear CKA of two matrices of features, between 0 and 1.

    CKA = ‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖), in float64 with Frobenius norms. X and Y are `x` and `y`, with
    each column shifted to mean 0. Source: Kornblith et al., Similarity of Neural Network
    Representations Revisited, ICML 2019. Each product runs over all images, so the value does not
    depend on a batch size. It is NaN if a network has the same features for all images.

    Args:
        x: Features (n, D) of one network.
        y: Features (n, E) of the other network, for the same images.
    """
    x, y = (each.double() - each.double().mean(0) for each in (x, y))
    norms = torch.linalg.norm(x.T @ x) * torch.linalg.norm(y.T @ y)
    return float(torch.linalg.norm(y.T @ x).square() / norms) if norms > 0 else math.nan


def stage_similarities(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return the CKA of the pooled features and, for equal numbers of stages, of each stage.

    Args:
        student: Features of the student, as in `Readout`.
        teacher: Features of the teacher, as in `Readout`.

    Returns:
        `cka`, and `cka.stage1`, … unless the networks have different numbers of stages.
    """
    values = {"cka": linear_cka(student[POOLED], teacher[POOLED])}
    if student.keys() == teacher.keys():
        stages = [name for name in student if name != POOLED]
        values |= {f"cka.{name}": linear_cka(student[name], teacher[name]) for name in stages}
    return values
