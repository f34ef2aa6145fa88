"""Similarity-preserving distillation: match the similarities between the samples of a batch."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features


class SP(Distiller):
    """L = ‖G_s - G_t‖² / B², G the Gram matrix of the batch, ‖·‖ the Frobenius norm.

    G (B, B) holds the inner products between the samples' flattened feature maps (B, C·H·W) of the
    last stage; each row of G is then scaled to length 1. The loss depends on B, so the CRD paper's
    weight of 3000 is for B = 64.

    Source: the paper's loss for one pair of layers, as in RepDistiller.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = "Tung, Mori. Similarity-Preserving Knowledge Distillation. ICCV 2019. arXiv:1907.09682"
    formula = (r"L = \frac{1}{B^2} \lVert G_s - G_t \rVert^2",)
    reads = ("stages",)
    relational = True

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared difference of the two similarity matrices."""
        return F.mse_loss(_similarity(student.stages[-1]), _similarity(teacher.stages[-1]))


def _similarity(stage: Tensor) -> Tensor:
    """Return the Gram matrix (B, B) of a feature map (B, C, H, W), with rows of length 1."""
    flat = stage.flatten(1)  # (B, C·H·W)
    return F.normalize(flat @ flat.T, dim=1)
