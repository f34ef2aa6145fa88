"""Streamlined distillation: match probabilities, and similarities between samples' logits."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import cholesky_ex, solve_triangular, vector_norm

from distillers._logits import divergence
from distillers.base import Batch, Distiller, Features, NonNegative, Positive, Setting


class SKD(Distiller):
    """L = a · mean_i KL(softmax(z_t / T)_i ‖ softmax(z_s / T)_i) + d · mean_i √(D_i Σ⁻¹ D_iᵀ).

    z_s, z_t (B, K) are the logits of the student and the teacher, T is the temperature; the loss
    has no factor T². u (B, K) holds a network's logits, each row scaled to length 1. D (B, B) is
    u_s u_sᵀ - u_t u_tᵀ, with rows D_i. Σ (B, B) is the covariance matrix of the rows of D, with the
    divisor B - 1, plus λ on its diagonal. The gradient also flows through Σ.
    The second term depends on the batch size B.

    Source: the port in torchdistill, with its defaults. We did not read the paper.
    Unlike the port, a row D_i of zeros, as in a batch of one sample, has the gradient 0, not NaN.
    The linear system is solved with a Cholesky factor, not with the inverse of Σ.

    Args:
        setting: Not used, since the loss has no parameters.
        temperature: T, above 0; 4 by default.
        tikhonov: λ, above 0; 0.1 by default.
        instance: a, at least 0; 1 by default.
        direction: d, at least 0; 1 by default.
    """

    paper = "Jeong, Lee, Choi. Streamlined Knowledge Distillation. CVPR 2026"
    formula = (
        r"L = a \operatorname{mean}_i \operatorname{KL} ( \operatorname{softmax}(z_t / T)_i \, "
        r"\Vert \, \operatorname{softmax}(z_s / T)_i ) + d \operatorname{mean}_i \sqrt{D_i "
        r"\Sigma^{-1} D_i^{\top}}",
        r"D = u_s u_s^{\top} - u_t u_t^{\top}",
    )
    reads = ("logits",)
    relational = True

    def __init__(
        self,
        setting: Setting,
        *,
        temperature: Positive = 4.0,
        tikhonov: Positive = 0.1,
        instance: NonNegative = 1.0,
        direction: NonNegative = 1.0,
    ) -> None:
        super().__init__(setting)
        self.temperature, self.tikhonov = temperature, tikhonov
        self.instance, self.direction = instance, direction

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted sum of the divergence and the distance of the directions."""
        log_q = F.log_softmax(teacher.logits / self.temperature, dim=1)
        log_p = F.log_softmax(student.logits / self.temperature, dim=1)
        kl = divergence(log_q, log_p).mean()
        return self.instance * kl + self.direction * self.distance(student, teacher)

    def distance(self, student: Features, teacher: Features) -> Tensor:
        """Return the mean Mahalanobis length of the rows of D, a scalar."""
        u_s, u_t = F.normalize(student.logits, dim=1), F.normalize(teacher.logits, dim=1)
        difference = u_s @ u_s.T - u_t @ u_t.T
        centred = difference - difference.mean(dim=0)
        size = len(difference)
        diagonal = self.tikhonov * torch.eye(size, device=difference.device)
        covariance = centred.T @ centred / max(size - 1, 1) + diagonal
        factor = cholesky_ex(covariance).L  # does not wait for the device, unlike `cholesky`
        lengths: Tensor = vector_norm(solve_triangular(factor, difference.T, upper=False), dim=0)
        return lengths.mean()
