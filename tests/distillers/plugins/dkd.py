"""DKD as a plugin: the true class and the other classes are distilled separately."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers import Batch, Distiller, Features, Setting
from distillers.base import NonNegative, Positive


class OwnDKD(Distiller):
    """L = T² mean (α KL(b_t ‖ b_s) + β KL(n_t ‖ n_s)), p = softmax(z / T), b = (p_y, 1 - p_y).

    n is the softmax over the classes other than y. A suite's `warmup: 20` gives the ramp.
    """

    paper = "Zhao et al. Decoupled Knowledge Distillation. CVPR 2022. arXiv:2203.08679"
    reads = ("logits",)
    needs_labels = True

    def __init__(
        self,
        setting: Setting,
        *,
        alpha: NonNegative = 1.0,
        beta: NonNegative = 8.0,
        temperature: Positive = 4.0,
    ) -> None:
        super().__init__(setting)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        (b_s, n_s), (b_t, n_t) = (self.parts(x.logits, batch.labels) for x in (student, teacher))
        kl = [
            F.kl_div(s, t, reduction="batchmean", log_target=True)
            for s, t in ((b_s, b_t), (n_s, n_t))
        ]
        return self.temperature**2 * (self.alpha * kl[0] + self.beta * kl[1])

    def parts(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithms of b (B, 2) and n (B, K-1)."""
        scaled, classes = logits / self.temperature, logits.shape[1]
        columns = torch.arange(classes - 1, device=logits.device)
        others = scaled.gather(1, columns + (columns >= labels[:, None]))
        binary = torch.cat([scaled.gather(1, labels[:, None]), others.logsumexp(1, True)], 1)
        return binary.log_softmax(1), others.log_softmax(1)
