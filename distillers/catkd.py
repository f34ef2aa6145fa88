"""CAT-KD: match the class activation maps of student and teacher."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers._maps import pool
from distillers.base import Batch, Count, Distiller, Features, Incompatible, Setting


class CATKD(Distiller):
    """L = mean (n(A_s) - n(A_t))², A = V pool(F).

    F (B, C, H, W) is the map that the student (s) or the teacher (t) pools for its classifier, and
    V (K, C) is the weight of this classifier. F is average-pooled to r x r positions. V is then
    applied at each position, which gives the class activation maps A (B, K, r, r). n scales the map
    of each sample and class to length 1; with `normalise: false`, n changes nothing. The mean is
    over samples, classes and positions. The gradient flows to the student's map and to the weight
    of the student's classifier.

    The bias of the classifier is left out, because the bias would only add a constant to each map.
    The published students have no bias: the authors' code replaces the classifier by a convolution
    without bias.

    Source: the authors' code (GzyAftermath/CAT-KD) and its defaults.
    Unlike the authors' code, the student's classifier keeps its bias for the logits, and no map is
    enlarged. If a network's map has fewer than r rows, both networks' maps are pooled to this
    smaller number of rows; the same holds for columns.

    Args:
        setting: The two networks' shapes.
        resolution: r, at least 1; 2 by default.
        normalise: Whether n scales the maps to length 1; true by default. The authors do not scale
            the maps for most pairs of the same architecture.

    Raises:
        Incompatible: A network does not pool a map for a linear classifier.
    """

    paper = (
        "Guo, Yan, Li, Lin. Class Attention Transfer Based Knowledge Distillation. CVPR 2023. "
        "arXiv:2304.12777"
    )
    formula = (
        r"L = \operatorname{mean} \, ( n(A_s) - n(A_t) )^2, \quad A = V \operatorname{pool}(F)",
    )
    reads = ("pooled_map", "classifier")

    def __init__(self, setting: Setting, *, resolution: Count = 2, normalise: bool = True) -> None:
        super().__init__(setting)
        s, t = setting.student, setting.teacher
        if s.pooled_map is None or t.pooled_map is None or not (s.classifier and t.classifier):
            raise Incompatible("both networks must average-pool a map for a linear classifier")
        (_, h_s, w_s), (_, h_t, w_t) = s.pooled_map, t.pooled_map
        self.size = (min(resolution, h_s, h_t), min(resolution, w_s, w_t))
        self.normalise = normalise

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared difference of the class activation maps."""
        return F.mse_loss(self.activation(student), self.activation(teacher))

    def activation(self, features: Features) -> Tensor:
        """Return n(A), the class activation maps (B, K, r, r) of one network.

        Args:
            features: The network's features.
        """
        pooled = pool(features.pooled_map, self.size)
        maps = torch.einsum("kc,bchw->bkhw", features.classifier.weight, pooled)
        return F.normalize(maps, dim=(2, 3)) if self.normalise else maps  # type: ignore[arg-type]
