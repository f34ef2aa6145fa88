"""Discriminative and consistent distillation: contrast in the batch, learned temperature."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._base import Batch, Distiller, Features, Setting
from distillers._options import AtLeast0, Width

LARGEST = 10.0  # of the scale: a temperature of at least 0.1


class DCD(Distiller):
    """L = -mean_i log P_ii + α · mean_i KL(Q_i ‖ P_i).

    ℓ_ij = κ <u_i, v_j> + b compares the unit embeddings u = g_s(f_s) and v = g_t(f_t) of the
    pooled features; P is the softmax of ℓ's rows, Q that of its columns, transposed; both get
    the gradient. κ = min(exp(`log_scale`), 10), an inverse temperature, starts at e.
    `bias` b is inert: a constant shift cancels in both softmaxes, so its gradient is zero.
    Once `log_scale` exceeds ln 10 the clamp stops its gradient, and κ stays at 10.
    α = 0.5 and `width` 128 are those of the authors' code (giakoumoglou/distillers).
    Unlike that code, weight decay leaves `log_scale` and `bias` alone.
    """

    paper = (
        "Giakoumoglou, Stathaki. Discriminative and Consistent Representation Distillation. 2024. "
        "arXiv:2407.11802"
    )
    reads = ("pooled",)
    undecayed = ("log_scale", "bias")

    def __init__(self, setting: Setting, *, width: Width = 128, alpha: AtLeast0 = 0.5) -> None:
        super().__init__(setting)
        self.alpha = alpha
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width)
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The contrastive term plus α times the consistency term."""
        u = F.normalize(self.embed_s(student.pooled), dim=1)  # (B, width)
        v = F.normalize(self.embed_t(teacher.pooled), dim=1)
        scores = self.log_scale.exp().clamp(max=LARGEST) * (u @ v.T) + self.bias  # (B, B)
        log_p, log_q = scores.log_softmax(1), scores.log_softmax(0).T
        consistency = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
        return self.alpha * consistency - log_p.diagonal().mean()
