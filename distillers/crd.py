"""Contrastive representation distillation: recognise embeddings of the same sample."""

from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._memory_bank import (
    MemoryBank,
    NegativeSampler,
    log_odds,
    nce_loss,
)
from distillers.base import (
    Batch,
    Count,
    Distiller,
    Features,
    Fraction,
    NegativesFrom,
    Positive,
    Setting,
    Width,
)


class CRD(Distiller):
    """L = c(u, teacher's bank) + c(v, student's bank), c = -mean_i [log h_i0 + Σ_k log(1 - h_ik)].

    u = g_s(f_s) and v = g_t(f_t), each (B, width), are linear embeddings of the pooled features f_s
    of the student and f_t of the teacher, scaled to length 1. Each network has a memory bank (N,
    width) with a running mean of every training sample's embedding. c compares each anchor a_i, a
    row of u or v, with 1 + M rows m_k of the other network's bank. k = 0 is the anchor's own
    sample; k = 1…M have other classes.
        h_ik = p_ik / (p_ik + M / N), p_ik = exp(<a_i, m_k> / τ) / Z
    The critic h estimates the probability that a_i and m_k belong to one sample. The first batch
    sets Z, one constant for each term c. The banks are updated after the loss is computed.
    The second term has no gradient for the student: it trains only the teacher's embedding g_t.

    Source: eq. 19 for the critic h; RepDistiller for Z, the banks and the defaults.
    Unlike the paper, the critic divides by Z, and τ is 0.07 (the paper: 0.1, except on ImageNet).
    Unlike RepDistiller, the logarithms are exact: their arguments have no added 1e-7.

    Args:
        setting: The two networks' shapes, the training labels and the random generator.
        width: The size of the embeddings, from 1 to 65536; 128 by default.
        negatives: M, at least 1; 16384 by default.
        temperature: τ, above 0; 0.07 by default.
        momentum: The weight of a bank row's old value in its update, from 0 to 1; 0.5 by default.
        negatives_from: `classes` (default): the M negatives have other classes than the anchor.
            `samples`: they are any other samples, and no labels are needed (the paper's table 6).

    Raises:
        Incompatible: The training set has fewer than M samples outside its largest class.
    """

    paper = (
        "Tian, Krishnan, Isola. Contrastive Representation Distillation. ICLR 2020. "
        "arXiv:1910.10699"
    )
    formula = (
        r"L = c(u, \text{teacher's bank}) + c(v, \text{student's bank})",
        r"c = -\operatorname{mean}_i \left[ \log h_{i0} + \sum_{k=1}^{M} \log (1 - h_{ik}) "
        r"\right]",
        r"h_{ik} = \frac{p_{ik}}{p_{ik} + M / N}, \quad p_{ik} = \frac{1}{Z} \exp "
        r"\frac{\langle a_i, m_k \rangle}{\tau}",
    )
    reads = ("pooled",)
    needs_labels = True
    label_free = MappingProxyType({"negatives_from": "samples"})
    new_options = ("negatives_from",)

    def __init__(
        self,
        setting: Setting,
        *,
        width: Width = 128,
        negatives: Count = 16384,
        temperature: Positive = 0.07,
        momentum: Fraction = 0.5,
        negatives_from: NegativesFrom = "classes",
    ) -> None:
        super().__init__(setting)
        self.samples, self.temperature = len(setting.train_labels), temperature
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width)
        self.bank_s = MemoryBank(self.samples, width, momentum, self.rng, unit_length=True)
        self.bank_t = MemoryBank(self.samples, width, momentum, self.rng, unit_length=True)
        name = type(self).__name__.lower()  # the name in suites; a subclass has its own name
        self.draw_negatives = NegativeSampler(
            setting.train_labels, negatives, self.rng, name, negatives_from
        )
        self.z_s = nn.Buffer(torch.zeros(()))
        self.z_t = nn.Buffer(torch.zeros(()))

    def forward(
        self, student: Features, teacher: Features, batch: Batch, rows: Tensor | None = None
    ) -> Tensor:
        """Return L, the sum of both terms c; update the banks in training mode.

        Args:
            student: The student's features.
            teacher: The teacher's features.
            batch: The labels, and the samples' positions in the training set.
            rows: The indices of the bank rows to compare with, (B, 1+M) int64. Column 0 is the
                sample's own row. By default, the other M columns are drawn at random.

        Returns:
            A scalar.
        """
        u = F.normalize(self.embed_s(student.pooled), dim=1)  # (B, width)
        v = F.normalize(self.embed_t(teacher.pooled), dim=1)
        if rows is None:
            rows = torch.cat([batch.index[:, None], self.draw_negatives.of(batch)], 1)
        loss = self.contrast(u, self.bank_t, rows, self.z_s)
        loss = loss + self.contrast(v, self.bank_s, rows, self.z_t)
        if self.training:
            self.bank_s.update(batch.index, u)
            self.bank_t.update(batch.index, v)
        return loss

    def contrast(self, anchor: Tensor, bank: MemoryBank, rows: Tensor, z: Tensor) -> Tensor:
        """Return one of the two terms c of the loss.

        Args:
            anchor: The embeddings of one network, (B, width).
            bank: The memory bank of the other network.
            rows: The indices of the bank rows to compare with, (B, 1+M). Column 0 is the true pair.
            z: The buffer of this term's constant Z, a scalar.

        Returns:
            A scalar.
        """
        scores = bank.scores(anchor, rows) / self.temperature
        return nce_loss(log_odds(scores, z, self.samples, store_z=self.training))
