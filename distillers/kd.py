"""Knowledge distillation: the student imitates the teacher's softened class probabilities."""

import torch.nn.functional as F
from torch import Tensor

from distillers._base import Batch, Distiller, Features, Setting
from distillers._options import Positive


class KD(Distiller):
    """L = T² · mean_i KL(softmax(z_t / T)_i ‖ softmax(z_s / T)_i).

    z_s, z_t are the logits, T the temperature. T² keeps the gradient's size when T changes.
    The default T = 4 is that of the CRD paper's CIFAR-100 tables.
    Unlike the paper, the divergence stands for the cross-entropy with the soft targets: they
    differ by the teacher's entropy, which has no gradient.
    """

    paper = "Hinton, Vinyals, Dean. Distilling the Knowledge in a Neural Network. arXiv:1503.02531"
    reads = ("logits",)

    def __init__(self, setting: Setting, *, temperature: Positive = 4.0) -> None:
        super().__init__(setting)
        self.temperature = temperature

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The mean divergence over the batch, in nats, times T²."""
        log_p = F.log_softmax(student.logits / self.temperature, dim=1)
        log_q = F.log_softmax(teacher.logits / self.temperature, dim=1)
        kl = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
        return kl * self.temperature**2
