"""Cross-entropy of the second, strongly augmented view with the true labels."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features


class CEStrong(Distiller):
    """L = -mean_i log softmax(z'_s)_i[y_i].

    z'_s (B, K) are the student's logits of the strongly augmented view, y (B,) the labels; i is a
    sample. The loss ignores the teacher. The distiller `ce` computes the same loss for the first
    view. Multi-level logit distillation (`mlkd`) trains the student on both views.

    Source: the authors' code (Multi-Level-Logit-Distillation), which adds the cross-entropies of
    both views.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = "Jin, Wang, Lin. Multi-Level Logit Distillation. CVPR 2023"
    formula = (r"L = -\operatorname{mean}_i \log \operatorname{softmax}(z'_s)_{i, y_i}",)
    reads = ("strong",)
    uses_teacher = False
    uses_labels = True

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the second view's logits, in nats."""
        return F.cross_entropy(student.strong.logits, batch.target)
