"""Information-theoretic distillation: correlate the networks' features, match their kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers.base import Batch, Distiller, Features, NonNegative, Positive, Setting

MIN_VARIANCE = 1e-12  # a feature with less variance in the batch counts as constant
MIN_TRACE = 1e-12  # prevents a division by 0


class ITRD(Distiller):
    """L = λ_c · log2 Σ_d |r_d - 1|^(2α) + λ_m · Σ_ij (G_s² - G_st²)_ij.

    h_s (B, D_s), h_t (B, D_t) are the pooled features; e = g(h_s) (B, D_t), where g is a trained
    linear layer. r_d = (1/B) Σ_i ê_id ĥ_id is the correlation of feature d. ê and ĥ are e and h_t
    with each column shifted to mean 0 and divided by its standard deviation (divisor B - 1). Since
    r_d ≤ (B - 1)/B, the logarithm is finite.
    G_s = u uᵀ and G_st = (u uᵀ) ∘ (v vᵀ), both (B, B), are divided by their traces; ∘ and the
    squares in L act on each element. u and v hold the rows of e and h_t, scaled to length 1. If D_s
    = D_t, u holds the rows of h_s instead of those of e.

    Source: the correlation and mutual-information losses of the paper, as its code (roymiles/ITRD)
    computes them, with that code's defaults. The example in the code's README, WRN-40-2 to
    WRN-16-2, has λ_m = 1 and α = 1.01.
    Unlike the authors' code, a feature that is constant in the batch, such as a dead ReLU, has
    correlation 0 and no gradient; that code divides 0 by 0. In a batch of one sample, all features
    are constant. The port in giakoumoglou/distillers drops λ_c and λ_m; this file keeps them.

    Args:
        setting: The two networks' shapes.
        correlation: λ_c, at least 0; 2 by default.
        mutual: λ_m, at least 0; 0.05 by default.
        alpha: α, above 0; 1.5 by default.
    """

    paper = (
        "Miles, Lopez Rodriguez, Mikolajczyk. Information Theoretic Representation Distillation. "
        "BMVC 2022. arXiv:2112.00459"
    )
    formula = (
        r"L = \lambda_c \log_2 \sum_d | r_d - 1 |^{2 \alpha} + \lambda_m \sum_{i,j} ( G_s^2 - "
        r"G_{st}^2 )_{ij}",
        r"r_d = \frac{1}{B} \sum_i \hat{e}_{id} \hat{h}_{id}, \quad G_s = \frac{u "
        r"u^{\top}}{\operatorname{tr} ( u u^{\top} )}, \quad G_{st} = \frac{u u^{\top} \circ v "
        r"v^{\top}}{\operatorname{tr} ( u u^{\top} \circ v v^{\top} )}",
    )
    reads = ("pooled",)
    relational = True

    def __init__(
        self,
        setting: Setting,
        *,
        correlation: NonNegative = 2.0,
        mutual: NonNegative = 0.05,
        alpha: Positive = 1.5,
    ) -> None:
        super().__init__(setting)
        self.correlation, self.mutual, self.alpha = correlation, mutual, alpha
        self.embed_s = nn.Linear(setting.student.pooled, setting.teacher.pooled)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted sum of the correlation loss and the mutual-information loss."""
        embedded = self.embed_s(student.pooled)  # (B, D_t)
        is_equal = student.pooled.shape == teacher.pooled.shape
        rows = student.pooled if is_equal else embedded
        loss = self.correlation * self.correlation_loss(embedded, teacher.pooled)
        return loss + self.mutual * mutual_loss(rows, teacher.pooled)

    def correlation_loss(self, embedded: Tensor, pooled: Tensor) -> Tensor:
        """Return log2 Σ_d |r_d - 1|^(2α), a scalar.

        Args:
            embedded: The embeddings e of the student's features, (B, D_t).
            pooled: The teacher's pooled features, (B, D_t).
        """
        correlation = (_standardise(embedded) * _standardise(pooled)).mean(0)  # (D_t,)
        return (correlation - 1).abs().pow(2 * self.alpha).sum().log2()


def mutual_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return Σ_ij (G_s² - G_st²)_ij, a scalar.

    Args:
        student: The student's rows, (B, D).
        teacher: The teacher's rows, (B, D_t).
    """
    u, v = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
    g_s = u @ u.T
    g_st = g_s * (v @ v.T)
    g_s, g_st = (g / torch.trace(g).clamp(min=MIN_TRACE) for g in (g_s, g_st))
    return (g_s.square() - g_st.square()).sum()


def _standardise(x: Tensor) -> Tensor:
    """Return the columns of x (B, D) with mean 0 and variance 1; zeros for a constant column."""
    centred = x - x.mean(0)
    variance = centred.square().sum(0) / max(len(x) - 1, 1)
    varies = (variance > MIN_VARIANCE).to(x.dtype)
    return centred * (varies * variance.clamp(min=MIN_VARIANCE).rsqrt())
