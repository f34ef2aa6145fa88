"""Wasserstein contrastive distillation: a bounded critic for all samples, a matching by batch."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from distillers._bank import Bank, OtherClasses, dual_gap, log_odds, noise_contrast
from distillers._base import Batch, Distiller, Features, Setting
from distillers._options import AtLeast0, Count, Fraction, Positive, Rounds, Width
from distillers._transport import cosine_cost, ipot, sinkhorn


class WCoRD(Distiller):
    """A reconstruction: L = λ1 · global + λ2 · local, from the paper's abstract, not its equations.

    u = A_s f_s / |f_s| and v = A_t f_t / |f_t| map the pooled features, A_s and A_t of spectral
    norm 1, so that the critic <u, v> is 1-Lipschitz in either argument and within ±1.
    Global (GCKT, the dual form), over both directions as in CRD: with h_ik = p_ik / (p_ik + M / N),
    p_ik = exp(<a_i, m_k> / τ) / Z, the true pair k = 0, M others of other classes,
    "nce": -mean_i [log h_i0 + Σ_k log(1 - h_ik)]; "kr": -mean_i [h_i0 - Σ_k h_ik].
    Local (LCKT, the primal form): <π, C>, C_ij = 1 - cos(u_i, v_j) in the batch, π the cheapest
    plan between its uniform marginals, held fixed for the gradient.

    λ1 = `global_weight`, CRD's 0.8; λ2 = `local_weight`, 0.05, is not from the paper: select it on
    a held-out split. A weight of 0 leaves its part out: LCKT or GCKT alone.
    `step` is IPOT's (0.5, as its public code), `entropy` Sinkhorn's; from 0.5 on its plan is about
    uniform and says nothing. `rounds` are fixed in number.
    A reconstruction too: the two parts share A_s and A_t; the banks' rows are running means of u
    and v that are not brought to length 1, which keeps the critic within its bound.
    """

    paper = (
        "Chen et al. Wasserstein Contrastive Representation Distillation. CVPR 2021. "
        "arXiv:2012.08674"
    )
    reads = ("pooled",)
    note = "reconstruction"
    z_s: Tensor
    z_t: Tensor

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
        global_weight: AtLeast0 = 0.8,
        local_weight: AtLeast0 = 0.05,
        entropy: Positive = 0.05,
        rounds: Rounds = 50,
        step: Positive = 0.5,
    ) -> None:
        super().__init__(setting)
        if not (global_weight or local_weight):
            raise ValueError("global_weight and local_weight are both 0: nothing is left of WCoRD")
        self.global_weight, self.local_weight = global_weight, local_weight
        self.measure = {"nce": noise_contrast, "kr": dual_gap}[form]
        self.solve: Callable[[Tensor, float, int], Tensor]
        self.solve = {"ipot": ipot, "sinkhorn": sinkhorn}[solver]
        self.softness = {"ipot": step, "sinkhorn": entropy}[solver]
        self.rounds = rounds
        self.samples, self.temperature = len(setting.train_labels), temperature
        self.embed_s = spectral_norm(nn.Linear(setting.student.pooled, width, bias=False))
        self.embed_t = spectral_norm(nn.Linear(setting.teacher.pooled, width, bias=False))
        if global_weight:
            self.bank_s = Bank(self.samples, width, momentum, self.rng, unit=False)
            self.bank_t = Bank(self.samples, width, momentum, self.rng, unit=False)
            self.others = OtherClasses(setting.train_labels, negatives, self.rng)
            self.register_buffer("z_s", torch.zeros(()))
            self.register_buffer("z_t", torch.zeros(()))

    def forward(
        self, student: Features, teacher: Features, batch: Batch, rows: Tensor | None = None
    ) -> Tensor:
        """The weighted sum of the global and the local part; rows (B, 1+M) as CRD's."""
        u = self.embed_s(F.normalize(student.pooled, dim=1))  # (B, width)
        v = self.embed_t(F.normalize(teacher.pooled, dim=1))
        loss: Tensor = u.new_zeros(())
        if self.global_weight:
            loss = loss + self.global_weight * self.contrast(u, v, batch, rows)
        if self.local_weight:
            loss = loss + self.local_weight * self.matching(u, v)
        return loss

    def contrast(self, u: Tensor, v: Tensor, batch: Batch, rows: Tensor | None) -> Tensor:
        """The global part of u and v (B, width); renews the banks in training mode."""
        if rows is None:
            rows = torch.cat([batch.index[:, None], self.others(batch.labels)], 1)  # (B, 1+M)
        directions = ((u, self.bank_t, self.z_s), (v, self.bank_s, self.z_t))
        losses = []
        for anchor, bank, z in directions:
            scores = bank.scores(anchor, rows) / self.temperature
            losses.append(self.measure(log_odds(scores, z, self.samples, learn=self.training)))
        if self.training:
            self.bank_s.update(batch.index, u)
            self.bank_t.update(batch.index, v)
        return torch.stack(losses).sum()

    def matching(self, u: Tensor, v: Tensor) -> Tensor:
        """The local part: the cost of moving u (B, width) onto v, at a plan without gradient."""
        cost = cosine_cost(u, v)
        plan = self.solve(cost, self.softness, self.rounds)
        return (plan * cost).sum()
