"""Similarity-preserving distillation: the student copies which samples look alike."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features


class SP(Distiller):
    """L = ‖G_s - G_t‖² / B², G the Gram matrix of the batch with rows of norm 1.

    G (B, B) holds the inner products of the samples' flattened maps f (B, C·H·W), taken at the last
    stage. The loss depends on B: the weight 3000 of the papers' tables belongs to B = 64.

    Source: the paper, for one pair of layers, as RepDistiller computes it.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = "Tung, Mori. Similarity-Preserving Knowledge Distillation. ICCV 2019. arXiv:1907.09682"
    reads = ("stages",)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared difference of the two similarity matrices."""
        return F.mse_loss(_similarity(student.stages[-1]), _similarity(teacher.stages[-1]))


def _similarity(stage: Tensor) -> Tensor:
    """Return the inner products of a map's samples (B, C, H, W): (B, B), rows of length 1."""
    flat = stage.flatten(1)  # (B, C·H·W)
    return F.normalize(flat @ flat.T, dim=1)
