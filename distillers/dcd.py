"""Discriminative and consistent distillation: in-batch contrast with a learned temperature."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers.base import Batch, Distiller, Features, NonNegative, Setting, Width

MAX_SCALE = 10.0  # the largest κ: a temperature of at least 0.1


class DCD(Distiller):
    """L = -mean_i log P_ii + α · mean_i KL(Q_i ‖ P_i).

    u = g_s(f_s) and v = g_t(f_t), each (B, width), are linear embeddings of the pooled features f_s
    of the student and f_t of the teacher, scaled to length 1. ℓ (B, B) with ℓ_ij = κ <u_i, v_j> + b
    compares all pairs. P is the softmax over each row of ℓ. Q is the softmax over each column of ℓ,
    transposed. KL is the consistency term; the gradient flows through P and Q.
    κ = min(exp(`log_scale`), 10) is a learned inverse temperature; its initial value is e. Once
    `log_scale` exceeds ln 10, the clamp stops the gradient of `log_scale`, so κ stays at 10.
    b is the parameter `bias`. A constant shift cancels in both softmaxes, so b has no effect and
    its gradient is 0.

    Source: the authors' code (giakoumoglou/distillers) and its defaults.
    Unlike the authors' code, `log_scale` and `bias` have no weight decay.

    Args:
        setting: The two networks' shapes.
        width: The size of the embeddings, from 1 to 65536; 128 by default.
        alpha: α, the weight of the consistency term, at least 0; 0.5 by default.
    """

    paper = (
        "Giakoumoglou, Stathaki. Discriminative and Consistent Representation Distillation. 2024. "
        "arXiv:2407.11802"
    )
    formula = (
        r"L = -\operatorname{mean}_i \log P_{ii} + \alpha \operatorname{mean}_i "
        r"\operatorname{KL} ( Q_i \, \Vert \, P_i )",
        r"P_{ij} = \frac{\exp \ell_{ij}}{\sum_k \exp \ell_{ik}}, \quad Q_{ij} = \frac{\exp "
        r"\ell_{ji}}{\sum_k \exp \ell_{ki}}, \quad \ell_{ij} = \kappa \langle u_i, v_j \rangle "
        r"+ b",
    )
    reads = ("pooled",)
    relational = True
    undecayed = ("log_scale", "bias")

    def __init__(self, setting: Setting, *, width: Width = 128, alpha: NonNegative = 0.5) -> None:
        super().__init__(setting)
        self.alpha = alpha
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width)
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the contrastive term plus α times the consistency term."""
        u = F.normalize(self.embed_s(student.pooled), dim=1)  # (B, width)
        v = F.normalize(self.embed_t(teacher.pooled), dim=1)
        scores = self.log_scale.exp().clamp(max=MAX_SCALE) * (u @ v.T) + self.bias  # (B, B)
        log_p, log_q = scores.log_softmax(1), scores.log_softmax(0).T
        consistency = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
        return self.alpha * consistency - log_p.diagonal().mean()
