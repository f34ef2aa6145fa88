"""Curriculum temperature: a learned temperature makes distillation harder over the first epochs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._logits import divergence
from distillers.base import Batch, Count, Distiller, Features, Positive, Setting


class CTKD(Distiller):
    """L = T² · mean_i KL(softmax(z_t / T)_i ‖ softmax(z_s / T)_i), T = T_0 + T_1 · sigmoid(g).

    z_s, z_t (B, K) are the logits of the student and the teacher. The temperature T is one number
    for all samples. It depends on one trained parameter, g, whose initial value is 1. The gradient
    at T includes the derivative of the factor T². In epoch e, counted from 1, this gradient is
    multiplied by λ(e) = -(1 - cos(π min(e / E, 1))) / 2. λ falls from about 0 to -1 within E
    epochs. Because λ is negative, training changes g to increase the loss, and changes the student
    to decrease the loss.

    Source: the global temperature of the paper; the authors' code (zhengli97/CTKD) for T_0 and T_1.
    The recipe's weight decay also acts on g, as in the authors' code.
    Unlike the paper, a temperature for each sample is not offered, because the authors did not
    publish that code.

    Args:
        setting: Not used, since the only parameter is one number.
        low: T_0, the lowest temperature, above 0; 1 by default.
        span: T_1, above 0; 20 by default.
        ramp: E, the epochs until λ is -1, at least 1; 10 by default.
    """

    paper = (
        "Li, Li, Yang, Zhao, Song, Luo, Li, Yang. Curriculum Temperature for Knowledge "
        "Distillation. AAAI 2023. arXiv:2211.16231"
    )
    formula = (
        r"L = T^2 \operatorname{mean}_i \operatorname{KL} ( \operatorname{softmax}(z_t / T)_i "
        r"\, \Vert \, \operatorname{softmax}(z_s / T)_i )",
        r"T = T_0 + T_1 \operatorname{sigmoid}(g)",
    )
    reads = ("logits",)

    def __init__(
        self, setting: Setting, *, low: Positive = 1.0, span: Positive = 20.0, ramp: Count = 10
    ) -> None:
        super().__init__(setting)
        self.low, self.span, self.ramp = low, span, ramp
        self.g = nn.Parameter(torch.ones(()))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean divergence over the batch, in nats, times T²."""
        progress = (batch.epoch / self.ramp).clamp(max=1)
        reversal = (torch.cos(math.pi * progress) - 1) / 2
        temperature = self.low + self.span * self.g.sigmoid()
        constant = temperature.detach()
        temperature = constant + reversal * (temperature - constant)  # same value, gradient times λ
        log_q = F.log_softmax(teacher.logits / temperature, dim=1)
        log_p = F.log_softmax(student.logits / temperature, dim=1)
        return divergence(log_q, log_p).mean() * temperature.square()
