"""Hard distillation: the student learns the class that the teacher predicts."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features


class Hard(Distiller):
    """L = -mean_i log softmax(z_s)_i[argmax_k (z_t)_ik].

    z_s, z_t (B, K) are the logits of the student and the teacher.

    Source: eq. 3 of the paper, which weights this loss and the cross-entropy with 1/2 each.
    Unlike the paper, the student has no distillation token: one classifier learns both terms.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = (
        "Touvron, Cord, Douze, Massa, Sablayrolles, Jégou. Training Data-Efficient Image "
        "Transformers & Distillation through Attention. ICML 2021. arXiv:2012.12877"
    )
    formula = (
        r"L = -\operatorname{mean}_i \log \operatorname{softmax}(z_s)_{i, k_i}, \quad k_i = "
        r"\operatorname{argmax}_k (z_t)_{ik}",
    )
    reads = ("logits",)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean cross-entropy with the teacher's classes, in nats."""
        return F.cross_entropy(student.logits, teacher.logits.argmax(1))
