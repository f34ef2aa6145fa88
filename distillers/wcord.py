"""Wasserstein contrastive distillation: a contrastive loss plus optimal transport in the batch."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from distillers._memory_bank import (
    MemoryBank,
    NegativeSampler,
    kr_loss,
    log_odds,
    nce_loss,
)
from distillers._optimal_transport import cosine_cost, ipot, sinkhorn
from distillers.base import (
    Batch,
    Count,
    Distiller,
    Features,
    Fraction,
    NegativesFrom,
    NonNegative,
    Positive,
    Rounds,
    Setting,
    Width,
)


class WCoRD(Distiller):
    """A reconstruction: L = λ1 · global + λ2 · local, from the paper's abstract, not its equations.

    u = A_s f_s / |f_s| and v = A_t f_t / |f_t|, each (B, width), are embeddings of the pooled
    features f. The trained matrices A_s and A_t have spectral norm 1, so the critic <u, v> is
    1-Lipschitz in each argument and within ±1.

    The global part (the paper's GCKT, the dual form of the Wasserstein distance) is a sum of two
    losses, as in CRD (`crd.py`): one with anchors from u, one with anchors from v. `form` selects
    the loss:
        "nce": -mean_i [log h_i0 + Σ_k log(1 - h_ik)]; "kr": -mean_i [h_i0 - Σ_k h_ik]
        h_ik = p_ik / (p_ik + M / N), p_ik = exp(<a_i, m_k> / τ) / Z
    a_i is an anchor, and m_k are 1 + M rows of the other network's memory bank: k = 0 is the
    anchor's own sample, k = 1…M are samples of other classes. The first batch sets the constant Z.

    The local part (the paper's LCKT, the primal form) is <π, C>, the cost of transporting the rows
    of u to the rows of v. C (B, B) has the elements C_ij = 1 - cos(u_i, v_j). π (B, B) is the
    cheapest transport plan with uniform marginals; no gradient flows through π.

    Source: the abstract for the two parts, CRD for the contrast; the authors' code was not found.
    Choices of this reconstruction: both parts share A_s and A_t. The banks' rows are running means
    of u and v, and are not scaled to length 1, so the critic stays within ±1.

    Args:
        setting: The two networks' shapes, the training labels and the random generator.
        form: The global loss, "nce" (default) or "kr".
        solver: The solver for the plan π, "ipot" (default) or "sinkhorn".
        width: The size of u and v, from 1 to 65536; 128 by default.
        negatives: M, at least 1; 16384 by default.
        temperature: τ, above 0; 0.07 by default.
        momentum: The weight of a bank row's old value in its update, from 0 to 1; 0.5 by default.
        negatives_from: `classes` (default): the M negatives have other classes than the anchor.
            `samples`: they are any other samples, and no labels are needed.
        global_weight: λ1, at least 0; CRD's 0.8 by default. At 0, the global part is left out.
        local_weight: λ2, at least 0; 0.05 by default. At 0, the local part is left out. The default
            is ours, not the paper's: tune λ2 on a held-out split.
        entropy: The weight of the entropy in Sinkhorn's objective, above 0; 0.05 by default. At 0.5
            or more, the plan is almost uniform, and the local part carries no information.
        rounds: The solver's iterations, from 1 to 10000; 50 by default.
        step: IPOT's step size, above 0; 0.5 by default, as in its public code.

    Raises:
        Incompatible: The training set has fewer than M samples outside its largest class.
        ValueError: `global_weight` and `local_weight` are both 0.
    """

    paper = (
        "Chen et al. Wasserstein Contrastive Representation Distillation. CVPR 2021. "
        "arXiv:2012.08674"
    )
    formula = (
        r"L = \lambda_1 \cdot \text{global} + \lambda_2 \cdot \text{local}, \quad \text{local} "
        r"= \langle \pi, C \rangle, \quad C_{ij} = 1 - \cos(u_i, v_j)",
        r"\text{nce: } -\operatorname{mean}_i \left[ \log h_{i0} + \sum_k \log (1 - h_{ik}) "
        r"\right]",
        r"\text{kr: } -\operatorname{mean}_i \left[ h_{i0} - \sum_k h_{ik} \right]",
        r"h_{ik} = \frac{p_{ik}}{p_{ik} + M / N}, \quad p_{ik} = \frac{1}{Z} \exp "
        r"\frac{\langle a_i, m_k \rangle}{\tau}",
    )
    reads = ("pooled",)
    relational = True
    needs_labels = True
    label_free = MappingProxyType({"negatives_from": "samples"})
    new_options = ("negatives_from",)
    note = "reconstruction"

    def __init__(
        self,
        setting: Setting,
        *,
        form: Literal["nce", "kr"] = "nce",
        solver: Literal["ipot", "sinkhorn"] = "ipot",
        width: Width = 128,
        negatives: Count = 16384,
        temperature: Positive = 0.07,
        momentum: Fraction = 0.5,
        negatives_from: NegativesFrom = "classes",
        global_weight: NonNegative = 0.8,
        local_weight: NonNegative = 0.05,
        entropy: Positive = 0.05,
        rounds: Rounds = 50,
        step: Positive = 0.5,
    ) -> None:
        super().__init__(setting)
        if not (global_weight or local_weight):
            raise ValueError("global_weight and local_weight are both 0: set one of them above 0")
        self.global_weight, self.local_weight = global_weight, local_weight
        self.contrast_loss = {"nce": nce_loss, "kr": kr_loss}[form]
        self.solve: Callable[[Tensor], Tensor] = {
            "ipot": partial(ipot, step=step, rounds=rounds),
            "sinkhorn": partial(sinkhorn, entropy=entropy, rounds=rounds),
        }[solver]
        self.samples, self.temperature = len(setting.train_labels), temperature
        self.embed_s = spectral_norm(nn.Linear(setting.student.pooled, width, bias=False))
        self.embed_t = spectral_norm(nn.Linear(setting.teacher.pooled, width, bias=False))
        if global_weight:
            self.bank_s = MemoryBank(self.samples, width, momentum, self.rng, unit_length=False)
            self.bank_t = MemoryBank(self.samples, width, momentum, self.rng, unit_length=False)
            name = type(self).__name__.lower()  # the name in suites; a subclass has its own name
            self.draw_negatives = NegativeSampler(
                setting.train_labels, negatives, self.rng, name, negatives_from
            )
            self.z_s = nn.Buffer(torch.zeros(()))
            self.z_t = nn.Buffer(torch.zeros(()))

    def forward(
        self, student: Features, teacher: Features, batch: Batch, rows: Tensor | None = None
    ) -> Tensor:
        """Return the weighted sum of both parts; update the banks in training mode.

        Args:
            student: The student's features.
            teacher: The teacher's features.
            batch: The labels, and the samples' positions in the training set.
            rows: The indices of the bank rows to compare with, (B, 1+M) int64. Column 0 is the
                sample's own row. By default, the other M columns are drawn at random.

        Returns:
            A scalar.
        """
        u = self.embed_s(F.normalize(student.pooled, dim=1))  # (B, width)
        v = self.embed_t(F.normalize(teacher.pooled, dim=1))
        loss: Tensor = u.new_zeros(())
        if self.global_weight:
            loss = loss + self.global_weight * self.contrast(u, v, batch, rows)
        if self.local_weight:
            loss = loss + self.local_weight * self.matching(u, v)
        return loss

    def contrast(self, u: Tensor, v: Tensor, batch: Batch, rows: Tensor | None) -> Tensor:
        """Return the global part without its weight; update the banks in training mode.

        Args:
            u: The student's embeddings, (B, width).
            v: The teacher's embeddings, (B, width).
            batch: The labels, and the samples' positions in the training set.
            rows: The indices of the bank rows to compare with, (B, 1+M) int64. Column 0 is the
                sample's own row. None: the other M columns are drawn at random.

        Returns:
            A scalar.
        """
        if rows is None:
            rows = torch.cat([batch.index[:, None], self.draw_negatives.of(batch)], 1)
        directions = ((u, self.bank_t, self.z_s), (v, self.bank_s, self.z_t))
        losses = []
        for anchor, bank, z in directions:
            scores = bank.scores(anchor, rows) / self.temperature
            odds = log_odds(scores, z, self.samples, store_z=self.training)
            losses.append(self.contrast_loss(odds))
        if self.training:
            self.bank_s.update(batch.index, u)
            self.bank_t.update(batch.index, v)
        return torch.stack(losses).sum()

    def matching(self, u: Tensor, v: Tensor) -> Tensor:
        """Return the local part without its weight: the cost of transporting u to v.

        Args:
            u: The student's embeddings, (B, width).
            v: The teacher's embeddings, (B, width).

        Returns:
            A scalar. The gradient flows through the costs, not through the plan.
        """
        cost = cosine_cost(u, v)
        return (self.solve(cost) * cost).sum()
