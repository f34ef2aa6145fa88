"""Cross-entropy with smoothed labels, a control without a teacher."""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge, Lt
from torch import Tensor

from distillers.base import Batch, Distiller, Features, Setting

Smoothing = Annotated[float, Ge(0), Lt(1)]


class LS(Distiller):
    """L = -mean_i Σ_k q_ik log softmax(z_s)_ik, q_ik = (1 - ε) [k = y_i] + ε / K.

    z_s (B, K) are the student's logits, y (B,) the labels, ε the smoothing. [k = y_i] is 1 for the
    true class and 0 for all other classes. The loss ignores the teacher. If a method with a teacher
    is not better than `ls`, perhaps its only effect is regularisation. If the recipe mixes images
    or smooths labels, the batch's class probabilities replace [k = y_i].

    Source: section 7 of the paper.

    Args:
        setting: Not used, since the loss has no parameters.
        smoothing: ε, from 0 to below 1; 0.1 by default, as in the paper.
    """

    paper = (
        "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. Rethinking the Inception Architecture for "
        "Computer Vision. CVPR 2016. arXiv:1512.00567"
    )
    formula = (
        r"L = -\operatorname{mean}_i \sum_k q_{ik} \log \operatorname{softmax}(z_s)_{ik}, "
        r"\quad q_{ik} = (1 - \varepsilon) \, [k = y_i] + \frac{\varepsilon}{K}",
    )
    reads = ("logits",)
    uses_teacher = False
    uses_labels = True

    def __init__(self, setting: Setting, *, smoothing: Smoothing = 0.1) -> None:
        super().__init__(setting)
        self.smoothing = smoothing

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the student's logits, in nats."""
        return F.cross_entropy(student.logits, batch.target, label_smoothing=self.smoothing)
