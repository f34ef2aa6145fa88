"""Similarity-preserving distillation: samples alike to the teacher are alike to the student."""

import torch.nn.functional as F
from torch import Tensor

from distillers._base import Batch, Distiller, Features


class SP(Distiller):
    """L = ‖G_s - G_t‖² / B², G the Gram matrix of the batch with rows of length 1.

    The Gram matrix is that of the last stage's flattened maps. The loss depends on the batch's
    size B: the weight 3000 of the papers' tables belongs to B = 64.
    """

    paper = "Tung, Mori. Similarity-Preserving Knowledge Distillation. ICCV 2019. arXiv:1907.09682"
    reads = ("stages",)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The mean squared difference of the two similarity matrices."""
        return F.mse_loss(similarity(student.stages[-1]), similarity(teacher.stages[-1]))


def similarity(stage: Tensor) -> Tensor:
    """Inner products between the samples of stage (B, C, H, W): (B, B), rows of length 1."""
    x = stage.flatten(1)  # (B, C·H·W)
    return F.normalize(x @ x.T, dim=1)
