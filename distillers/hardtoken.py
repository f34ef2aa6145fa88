"""Hard distillation by a token of its own: DeiT's second classifier learns the teacher's class."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features


class HardToken(Distiller):
    """L = -mean_i log softmax(z'_s)_i[argmax_k (z_t)_ik].

    z'_s (B, K) are the logits of the student's distillation token, z_t (B, K) the teacher's logits.
    In a method with this loss, the student's logits z_s are those of the class token during
    training, so a cross-entropy trains only the class token. At test time, the mean of both tokens'
    logits predicts.

    Source: section 4 and eq. 3 of the paper, which weights this loss and the cross-entropy with 1/2
    each. The student needs two classifiers, such as `timm:deit_tiny_distilled_patch16_224`. Unlike
    in the paper, the second classifier needs no token of its own: in LeViT, both classifiers read
    the same pooled features.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = (
        "Touvron, Cord, Douze, Massa, Sablayrolles, Jégou. Training Data-Efficient Image "
        "Transformers & Distillation through Attention. ICML 2021. arXiv:2012.12877"
    )
    formula = (
        r"L = -\operatorname{mean}_i \log \operatorname{softmax}(z'_s)_{i, k_i}, \quad k_i = "
        r"\operatorname{argmax}_k (z_t)_{ik}",
    )
    reads = ("distilled",)
    teacher_reads = ("logits",)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the token with the teacher's classes, in nats."""
        return F.cross_entropy(student.distilled, teacher.logits.argmax(1))
