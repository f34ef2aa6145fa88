"""Logit standardisation: distillation of logits that have mean 0 and standard deviation 1."""

from dataclasses import replace

from torch import Tensor

from distillers._logits import require_standardisable, standardised
from distillers.base import Batch, Features, Positive, Setting
from distillers.kd import KD


class LSKD(KD):
    """L = T² · mean_i KL(softmax(z̃_t / T)_i ‖ softmax(z̃_s / T)_i), z̃ = (z - m) / (σ + 1e-7).

    z_s, z_t (B, K) are the logits of the student and the teacher. m and σ (B, 1) are the mean and
    the standard deviation of each sample's logits, with the divisor K - 1. T is the temperature.
    The loss does not change if the student's logits are shifted or scaled by a positive factor.
    Only the cross-entropy with the labels sets their scale.

    Source: the paper's pre-process of logits before distillation; the authors' code
    (logit-standardization-KD) for the divisor and 1e-7.
    Unlike the authors' code, the weight and the temperature hold for this loss only. There, they
    also change plain KD if the option for standardisation is off.

    Args:
        setting: The number of classes.
        temperature: T, above 0; 2 by default, as in the authors' code.

    Raises:
        Incompatible: The data set has fewer than three classes.
    """

    paper = (
        "Sun, Ren, Li, Wang, Cao. Logit Standardization in Knowledge Distillation. CVPR 2024. "
        "arXiv:2403.01427"
    )

    def __init__(self, setting: Setting, *, temperature: Positive = 2.0) -> None:
        super().__init__(setting, temperature=temperature)
        require_standardisable(setting)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return KD's loss of the standardised logits."""
        z_s, z_t = standardised(student.logits), standardised(teacher.logits)
        return super().forward(replace(student, logits=z_s), replace(teacher, logits=z_t), batch)
