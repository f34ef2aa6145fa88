"""Mathematics of logits and of class probabilities that several distillers share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers.base import Incompatible, Setting

STD_OFFSET = 1e-7  # keeps standardised logits finite if all logits of a sample are equal
EXCLUDED = -1e9  # the logit of a class with probability 0; with -∞, 0 · log 0 would be NaN


def require_three_classes(setting: Setting, reason: str) -> None:
    """Check that the data set has at least three classes.

    Args:
        setting: The shapes of the networks' features.
        reason: Why the loss needs three classes.

    Raises:
        Incompatible: The data set has fewer than three classes.
    """
    if (classes := setting.student.logits) < 3:
        raise Incompatible(f"the data set has {classes} classes, but 3 are needed: {reason}")


def require_standardisable(setting: Setting) -> None:
    """Check that the data set has three or more classes, as standardised logits require.

    Two standardised logits are always 0.71 and -0.71, so a loss could compare only their order.

    Args:
        setting: The shapes of the networks' features.

    Raises:
        Incompatible: The data set has fewer than three classes.
    """
    require_three_classes(setting, "two standardised logits are always 0.71 and -0.71")


def standardised(logits: Tensor) -> Tensor:
    """Return (z - mean z) / (std z + 1e-7) of each row z of logits (B, K).

    Args:
        logits: The logits. std z has the divisor K - 1.
    """
    std = logits.std(dim=1, keepdim=True)
    return (logits - logits.mean(dim=1, keepdim=True)) / (std + STD_OFFSET)


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Return KL(q ‖ p) of each sample, (B,).

    Args:
        log_q: The logarithms of the teacher's probabilities, (B, K).
        log_p: The logarithms of the student's probabilities, (B, K).
    """
    return F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=1)


def without_true_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Return logits in which the true class has probability 0 (after softmax) and no gradient.

    Args:
        logits: The logits, (B, K).
        labels: The true classes, (B,).
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    return logits.masked_fill(classes == labels[:, None], EXCLUDED)
