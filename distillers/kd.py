"""Knowledge distillation: the student imitates the teacher's softened class probabilities."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features, Positive, Setting


class KD(Distiller):
    """L = T² · mean_i KL(softmax(z_t / T)_i ‖ softmax(z_s / T)_i).

    z_s, z_t (B, K) are the logits of the student and the teacher, T is the temperature. The factor
    T² keeps the gradient's size about constant when T changes.

    Source: the soft-target term of the paper, as RepDistiller computes it.
    Unlike the paper, the loss is the divergence from the soft targets, not the cross-entropy. The
    two differ by the entropy of the soft targets, which has no gradient.

    Args:
        setting: Not used, since the loss has no parameters.
        temperature: T, above 0; 4 by default, as in the CRD paper on CIFAR-100.
    """

    paper = "Hinton, Vinyals, Dean. Distilling the Knowledge in a Neural Network. arXiv:1503.02531"
    reads = ("logits",)

    def __init__(self, setting: Setting, *, temperature: Positive = 4.0) -> None:
        super().__init__(setting)
        self.temperature = temperature

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean divergence over the batch, in nats, times T²."""
        log_p = F.log_softmax(student.logits / self.temperature, dim=1)
        log_q = F.log_softmax(teacher.logits / self.temperature, dim=1)
        kl = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
        return kl * self.temperature**2
