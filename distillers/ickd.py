"""Inter-channel correlation: match the Gram matrices of the last map's channels."""

import torch.nn.functional as F
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm
from distillers.base import Batch, Distiller, Features, Setting


class ICKD(Distiller):
    """L = Σ_i ‖G_s - G_t‖²_i / (B·C_t), G the Gram matrix of a sample's channels, ‖·‖ Frobenius.

    f_s (B, C_s, H_s, W_s), f_t (B, C_t, H_t, W_t) are the last feature maps. A trained 1 x 1
    convolution with batch norm maps f_s to C_t channels. G (B, C_t, C_t) holds the inner products
    of the channels over the positions; each row is then scaled to length 1. The loss divides by
    C_t, not by the C_t² entries. The maps may have different sizes.

    Source: ICKD-C, the paper's loss for classification, as the authors' code (ADLab-AutoDrive/ICKD)
    computes the loss. That code also embeds the teacher's map, but does not use this embedding;
    here, the embedding is left out.
    Unlike in the authors' code, a batch with one value per channel is normalised by the running
    mean and variance.

    Args:
        setting: The two networks' shapes.
    """

    paper = (
        "Liu et al. Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge "
        "Distillation. ICCV 2021. arXiv:2202.03680"
    )
    formula = (r"L = \frac{1}{B \, C_t} \sum_i \lVert G_s - G_t \rVert_i^2",)
    reads = ("stages",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        c_s, c_t = setting.student.stages[-1][0], setting.teacher.stages[-1][0]
        self.embed_s = nn.Sequential(nn.Conv2d(c_s, c_t, 1, bias=False), BatchNorm(c_t))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared length of the rows of G_s - G_t."""
        g_s, g_t = _gram(self.embed_s(student.stages[-1])), _gram(teacher.stages[-1])
        return (g_s - g_t).square().sum(2).mean()


def _gram(stage: Tensor) -> Tensor:
    """Return the Gram matrices (B, C, C) of a map's channels (B, C, H, W), rows of length 1."""
    flat = stage.flatten(2)  # (B, C, H·W)
    return F.normalize(flat @ flat.mT, dim=2)
