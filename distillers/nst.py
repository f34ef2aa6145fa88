"""Neuron selectivity transfer: match the distributions of the channels' spatial patterns."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers._maps import paired, same_size
from distillers.base import Batch, Distiller, Features, Setting


class NST(Distiller):
    """L = Σ_stages [mean_icd <t_ic, t_id>² + mean_icd <s_ic, s_id>² - 2 mean_icd <s_ic, t_id>²].

    s_ic, t_id (H·W,) are channels c and d of sample i in one stage of the student and the teacher,
    each flattened and scaled to length 1. Maps of different sizes are first average-pooled to the
    smaller height and the smaller width. The bracket is the squared maximum mean discrepancy
    between the two sets of channels, with the kernel k(a, b) = <a, b>². The first term in the
    bracket is constant. A channel of zeros stays a zero vector and gets no gradient.

    Source: the paper's loss with its polynomial kernel (degree 2, no offset), as in RepDistiller,
    including the sum over all stages.
    Unlike RepDistiller, one batched matrix product computes the inner products. RepDistiller builds
    an array (B, C, C, H·W), which does not fit into memory for a wide stage of ResNet50. The
    results of both computations are the same.

    Args:
        setting: The two networks' shapes; both need the same number of stages.

    Raises:
        Incompatible: The networks have different numbers of stages.
    """

    paper = (
        "Huang, Wang. Like What You Like: Knowledge Distill via Neuron Selectivity Transfer. 2017. "
        "arXiv:1707.01219"
    )
    formula = (
        r"L = \sum_{\text{stages}} \left[ \operatorname{mean}_{icd} \langle t_{ic}, t_{id} "
        r"\rangle^2 + \operatorname{mean}_{icd} \langle s_{ic}, s_{id} \rangle^2 - 2 "
        r"\operatorname{mean}_{icd} \langle s_{ic}, t_{id} \rangle^2 \right]",
    )
    reads = ("stages",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        paired(setting.student.stages, setting.teacher.stages)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over stages of the squared maximum mean discrepancy."""
        losses = []
        for pair in zip(student.stages, teacher.stages, strict=True):
            s, t = (F.normalize(stage.flatten(2), dim=2) for stage in same_size(*pair))
            losses.append(_mean_kernel(t, t) + _mean_kernel(s, s) - 2 * _mean_kernel(s, t))
        return torch.stack(losses).sum()


def _mean_kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean of <a_ic, b_id>² over samples i and channels c, d; a, b (B, C, H·W)."""
    return (a @ b.transpose(1, 2)).square().mean()
