"""Simple distillation: match batch-normalised pooled features by a high power of differences."""

import torch.nn.functional as F
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm
from distillers.base import Batch, Distiller, Features, NonNegative, Positive, Setting

EPSILON = 1e-4  # ε of the batch norms in the authors' code
MIN_SUM = 1e-30  # prevents log(0) if the normalised features are equal


class SRD(Distiller):
    """L = w · log Σ_id |a_id - b_id|^p + T² · mean_i KL(softmax(z_t / T)_i ‖ softmax(z_s / T)_i).

    h_s (B, D_s) and h_t (B, D_t) are the pooled features. a = N(g(h_s)) and b = N(h_t), both (B,
    D_t), where g is a trained linear layer. N is batch norm without scale and shift (ε = 1e-4),
    with the statistics of the batch for both networks. z_s, z_t (B, K) are the logits. The sum runs
    over samples i and features d, so the batch size B only adds about w · log B to the loss.

    Source: the port that the paper's authors wrote for torchdistill, with its ImageNet settings.
    The authors published no recipe for CIFAR-100. Unlike in their code, a batch of one sample is
    normalised by the running mean and variance.

    Args:
        setting: The two networks' shapes.
        feature: w, at least 0; 2 by default.
        exponent: p, above 0; 4 by default.
        temperature: T, above 0; 1 by default.
    """

    paper = (
        "Miles, Mikolajczyk. Understanding the Role of the Projector in Knowledge Distillation. "
        "AAAI 2024. arXiv:2303.11098"
    )
    formula = (
        r"L = w \log \sum_{i,d} | a_{id} - b_{id} |^p + T^2 \operatorname{mean}_i "
        r"\operatorname{KL} ( \operatorname{softmax}(z_t / T)_i \, \Vert \, "
        r"\operatorname{softmax}(z_s / T)_i )",
    )
    reads = ("pooled", "logits")

    def __init__(
        self,
        setting: Setting,
        *,
        feature: NonNegative = 2.0,
        exponent: Positive = 4.0,
        temperature: Positive = 1.0,
    ) -> None:
        super().__init__(setting)
        self.feature, self.exponent, self.temperature = feature, exponent, temperature
        width = setting.teacher.pooled
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.norm_s = BatchNorm(width, eps=EPSILON, affine=False)
        self.norm_t = BatchNorm(width, eps=EPSILON, affine=False)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted feature loss plus the mean divergence of the logits, in nats."""
        log_p = F.log_softmax(student.logits / self.temperature, dim=1)
        log_q = F.log_softmax(teacher.logits / self.temperature, dim=1)
        kl = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
        return self.feature * self.feature_loss(student, teacher) + kl * self.temperature**2

    def feature_loss(self, student: Features, teacher: Features) -> Tensor:
        """Return log Σ_id |a_id - b_id|^p, a scalar."""
        difference = self.norm_s(self.embed_s(student.pooled)) - self.norm_t(teacher.pooled)
        total: Tensor = difference.abs().pow(self.exponent).sum()
        return total.clamp(min=MIN_SUM).log()
