"""Relational representation distillation: match the similarities to a queue of embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers.base import Batch, Count, Distiller, Features, Positive, Setting, Width


class RRD(Distiller):
    """L = -mean_i Σ_k q_ik log p_ik, p_i = softmax(M u_i / τ_s), q_i = softmax(M v_i / τ_t).

    u_i = g_s(f_s) and v_i = g_t(f_t), each (width,), are linear embeddings of sample i's pooled
    features, scaled to length 1. M (Q, width) is a queue of the teacher's last Q embeddings. The
    batch's v replaces the oldest rows before the loss is computed, so M contains the sample's own
    row. The queue starts with random rows of length 1.
    The gradient flows to u only. The teacher's embedding g_t keeps its random initial weights.

    Source: the code of the authors (github.com/giakoumoglou/distillers @a2ee80b) for the loss, the
    queue and the defaults. An older version of this code (@2f95cea) had τ_s 0.04 and τ_t 0.10. The
    authors do not state which temperatures belong to the published numbers.
    In the authors' code, the optimiser holds g_t, but g_t gets no gradient and never changes.
    Unlike the authors' code, which scales the columns of the initial queue to length 1, this file
    scales the rows. The queue wraps around, so Q need not be a multiple of the batch size B, and
    the smaller last batch of an epoch is also used.

    Args:
        setting: The two networks' shapes and the random generator.
        width: The size of the embeddings, from 1 to 65536; 128 by default.
        queue: Q, at least 1; 16384 by default. If B > Q, the batch's last Q samples are stored.
        temperature: τ_s, above 0; 0.1 by default.
        teacher_temperature: τ_t, above 0; 0.02 by default.
    """

    paper = "Giakoumoglou, Stathaki. Relational Representation Distillation. 2024. arXiv:2407.12073"
    formula = (
        r"L = -\operatorname{mean}_i \sum_k q_{ik} \log p_{ik}",
        r"p_i = \operatorname{softmax}(M u_i / \tau_s), \quad q_i = \operatorname{softmax}(M "
        r"v_i / \tau_t)",
    )
    reads = ("pooled",)

    def __init__(
        self,
        setting: Setting,
        *,
        width: Width = 128,
        queue: Count = 16384,
        temperature: Positive = 0.1,
        teacher_temperature: Positive = 0.02,
    ) -> None:
        super().__init__(setting)
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width).requires_grad_(False)
        start = torch.randn(queue, width, generator=self.rng, device=self.rng.device)
        self.queue = nn.Buffer(F.normalize(start, dim=1))
        self.oldest = nn.Buffer(torch.zeros((), dtype=torch.long, device=self.rng.device))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the similarities; update the queue in training mode."""
        u = F.normalize(self.embed_s(student.pooled), dim=1)  # (B, width)
        with torch.no_grad():
            v = F.normalize(self.embed_t(teacher.pooled), dim=1)
            newest = v[-len(self.queue) :]
            offset = torch.arange(len(newest), device=v.device)
            rows = self.queue.index_copy(0, (self.oldest + offset) % len(self.queue), newest)
            target = (v @ rows.T / self.teacher_temperature).softmax(1)  # (B, Q)
            if self.training:
                self.queue.copy_(rows)
                self.oldest.add_(len(newest)).remainder_(len(self.queue))
        log_p = F.log_softmax(u @ rows.T / self.temperature, dim=1)
        return -(target * log_p).sum(1).mean()
