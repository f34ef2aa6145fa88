"""Attention transfer: match the attention maps of student and teacher at every stage."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers._maps import attention, paired, same_size
from distillers.base import Batch, Distiller, Features, Positive, Setting


class AT(Distiller):
    """L = Σ_stages mean (a_s - a_t)², a = vec(mean_c |f_c|^p) scaled to length 1.

    f (B, C, H, W) is a stage's feature map in the student (s) or the teacher (t), and f_c its
    channel c. a (B, H·W) is the flattened attention map of f. The mean is over samples and
    positions. Feature maps of different sizes are first average-pooled to the smaller height and
    the smaller width.

    Source: the activation-based attention of the paper, as in RepDistiller.
    Unlike the paper, which sums the norms of differences, the loss averages squared differences, as
    RepDistiller does. The CRD paper's weight of 1000 is for such averages.

    Args:
        setting: The two networks' shapes; both need the same number of stages.
        power: The exponent p, above 0; 2 by default.

    Raises:
        Incompatible: The networks have different numbers of stages.
    """

    paper = "Zagoruyko, Komodakis. Paying More Attention to Attention. ICLR 2017. arXiv:1612.03928"
    formula = (
        r"L = \sum_{\text{stages}} \operatorname{mean} \, (a_s - a_t)^2",
        r"a = \frac{v}{\lVert v \rVert}, \quad v = \operatorname{vec} ( \operatorname{mean}_c "
        r"|f_c|^p )",
    )
    reads = ("stages",)

    def __init__(self, setting: Setting, *, power: Positive = 2.0) -> None:
        super().__init__(setting)
        paired(setting.student.stages, setting.teacher.stages)
        self.power = power

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over stages of the mean squared difference of the attention maps."""
        pairs = [same_size(s, t) for s, t in zip(student.stages, teacher.stages, strict=True)]
        losses = [F.mse_loss(attention(s, self.power), attention(t, self.power)) for s, t in pairs]
        return torch.stack(losses).sum()
