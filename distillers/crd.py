"""Contrastive representation distillation: tell each sample's true pair from many false ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._bank import Bank, OtherClasses, log_odds, noise_contrast
from distillers._base import Batch, Distiller, Features, Setting
from distillers._options import Count, Fraction, Positive, Width


class CRD(Distiller):
    """L = c(u, teacher's bank) + c(v, student's bank), c = -mean_i [log h_i0 + Σ_k log(1 - h_ik)].

    u = g_s(f_s) and v = g_t(f_t) are unit embeddings of the pooled features. An anchor a_i meets
    in the bank m its own sample (k = 0) and M of other classes (k = 1…M):
    h_ik = p_ik / (p_ik + M / N) (eq. 19), p_ik = exp(<a_i, m_k> / τ) / Z.
    Z, one for each direction, is set once, by the first batch. A bank's row is a running mean of
    its sample's embedding, renewed after the loss is taken.
    The second term has no gradient at the student: it trains the teacher's embedding.
    The defaults are RepDistiller's; the paper says τ = 0.1 for all but ImageNet.
    Unlike the paper's critic, p is divided by Z; unlike RepDistiller, the logarithms are exact,
    without an added 1e-7.
    """

    paper = (
        "Tian, Krishnan, Isola. Contrastive Representation Distillation. ICLR 2020. "
        "arXiv:1910.10699"
    )
    reads = ("pooled",)
    z_s: Tensor
    z_t: Tensor

    def __init__(
        self,
        setting: Setting,
        *,
        width: Width = 128,
        negatives: Count = 16384,
        temperature: Positive = 0.07,
        momentum: Fraction = 0.5,
    ) -> None:
        super().__init__(setting)
        self.samples, self.temperature = len(setting.train_labels), temperature
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width)
        self.bank_s = Bank(self.samples, width, momentum, self.rng, unit=True)
        self.bank_t = Bank(self.samples, width, momentum, self.rng, unit=True)
        self.others = OtherClasses(setting.train_labels, negatives, self.rng)
        self.register_buffer("z_s", torch.zeros(()))
        self.register_buffer("z_t", torch.zeros(()))

    def forward(
        self, student: Features, teacher: Features, batch: Batch, rows: Tensor | None = None
    ) -> Tensor:
        """The loss of both directions.

        rows (B, 1+M), to fix the negatives: each sample's own index, then those of the others.
        """
        u = F.normalize(self.embed_s(student.pooled), dim=1)  # (B, width)
        v = F.normalize(self.embed_t(teacher.pooled), dim=1)
        if rows is None:
            rows = torch.cat([batch.index[:, None], self.others(batch.labels)], 1)  # (B, 1+M)
        loss = self.contrast(u, self.bank_t, rows, self.z_s)
        loss = loss + self.contrast(v, self.bank_s, rows, self.z_t)
        if self.training:
            self.bank_s.update(batch.index, u)
            self.bank_t.update(batch.index, v)
        return loss

    def contrast(self, anchor: Tensor, bank: Bank, rows: Tensor, z: Tensor) -> Tensor:
        """The loss c of anchor (B, width) with the bank's rows (B, 1+M), the true ones first."""
        scores = bank.scores(anchor, rows) / self.temperature
        return noise_contrast(log_odds(scores, z, self.samples, learn=self.training))
