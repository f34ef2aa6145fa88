"""Multi-level logit distillation: compare samples, batches and classes in two augmented views."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers._logits import divergence, require_standardisable, standardised
from distillers.base import Batch, Distiller, Features, Positive, Setting

STRONG_TEMPERATURES = (3.0, 5.0)  # used for both views, as is the option `temperature`
WEAK_TEMPERATURES = (2.0, 6.0)  # at these, k(z) counts twice, and k(z') does not occur


class MLKD(Distiller):
    """L = Σ_T [φ_b k(z) + φ_c c(z) + φ_b b(z)]_T + Σ_T∈{T_0,3,5} k(z')_T + Σ_T∈{2,6} k(z)_T.

    z and z' (B, K) are the logits of the weakly and the strongly augmented view, of the student s
    and the teacher t. The first sum is over T in {T_0, 3, 5, 2, 6}. p_T is the softmax of z / T.
        k = T² mean_i KL(p_t,T ‖ p_s,T)_i        compares each sample i alone
        c = ‖p_t,Tᵀ p_t,T - p_s,Tᵀ p_s,T‖² / K   compares the classes by matrices (K, K)
        b = ‖p_t,T p_t,Tᵀ - p_s,T p_s,Tᵀ‖² / B   compares the samples by matrices (B, B)
    ‖·‖ is the Frobenius norm.
    φ_b is the share of samples whose largest probability, according to the teacher's softmax of z,
    is at most the median of the batch. φ_c is the share of classes whose probabilities, summed over
    the batch, are at most the median of the classes. Both shares are about 1/2.
    With `standardise`, the logits in k are first standardised, as in `kd`. The logits in c and b
    are not standardised.

    Source: the authors' code (Multi-Level-Logit-Distillation).
    Unlike the paper, but as in that code: φ_b and φ_c multiply averages; they do not select samples
    or classes. T = 2 and T = 6 use the weak view twice and do not use the strong view. Only k
    compares the strong views.
    Unlike in the authors' code, the CPU does not wait for the GPU to compute medians.

    Args:
        setting: The two networks' shapes, which contain the number of classes.
        temperature: T_0, above 0; 4 by default.
        standardise: Whether to standardise the logits in k; False by default. With
            standardisation, its authors (see `kd`) use T_0 = 2.

    Raises:
        Incompatible: `standardise` is True, and the data set has fewer than three classes.
    """

    paper = "Jin, Wang, Lin. Multi-Level Logit Distillation. CVPR 2023"
    formula = (
        r"L = \sum_T \left[ \varphi_b k(z) + \varphi_c c(z) + \varphi_b b(z) \right]_T + "
        r"\sum_{T \in \{T_0, 3, 5\}} k(z')_T + \sum_{T \in \{2, 6\}} k(z)_T",
        r"k = T^2 \operatorname{mean}_i \operatorname{KL} ( p_{t,T} \, \Vert \, p_{s,T} )_i",
        r"c = \frac{1}{K} \lVert p_{t,T}^{\top} p_{t,T} - p_{s,T}^{\top} p_{s,T} \rVert^2, "
        r"\quad b = \frac{1}{B} \lVert p_{t,T} p_{t,T}^{\top} - p_{s,T} p_{s,T}^{\top} \rVert^2",
    )
    reads = ("logits", "strong")
    relational = True

    def __init__(
        self, setting: Setting, *, temperature: Positive = 4.0, standardise: bool = False
    ) -> None:
        super().__init__(setting)
        if standardise:
            require_standardisable(setting)
        self.temperature, self.standardise = temperature, standardise

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum L of the terms of both views."""
        probability = teacher.logits.softmax(dim=1)
        of_batch = _share_up_to_median(probability.amax(dim=1))
        of_classes = _share_up_to_median(probability.sum(dim=0))
        s, t = student.logits, teacher.logits
        weak = self.prepared(student, teacher)
        strong = self.prepared(student.strong, teacher.strong)
        temperatures = self.temperature, *STRONG_TEMPERATURES
        terms = [_instances(*strong, temperature) for temperature in temperatures]
        terms += [_instances(*weak, temperature) for temperature in WEAK_TEMPERATURES]
        for temperature in (*temperatures, *WEAK_TEMPERATURES):
            of_samples = _instances(*weak, temperature) + _batch(s, t, temperature)
            terms.append(of_batch * of_samples + of_classes * _classes(s, t, temperature))
        return torch.stack(terms).sum()

    def prepared(self, student: Features, teacher: Features) -> tuple[Tensor, Tensor]:
        """Return both networks' logits (B, K) of a view, standardised if `standardise` is True."""
        if self.standardise:
            return standardised(student.logits), standardised(teacher.logits)
        return student.logits, teacher.logits


def _share_up_to_median(values: Tensor) -> Tensor:
    """Return the share of values (n,) that are at most their median, a scalar."""
    ordered, middle = values.sort().values, len(values) // 2
    median = (ordered[middle] + ordered[(len(values) - 1) // 2]) / 2
    return (values <= median).to(values.dtype).mean()


def _instances(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the mean divergence of logits (B, K) at one temperature T, times T²."""
    log_q = F.log_softmax(teacher / temperature, dim=1)
    log_p = F.log_softmax(student / temperature, dim=1)
    return divergence(log_q, log_p).mean() * temperature**2


def _classes(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the squared difference of the class correlations, divided by K."""
    q, p = (teacher / temperature).softmax(dim=1), (student / temperature).softmax(dim=1)
    return (q.T @ q - p.T @ p).square().sum() / q.shape[1]


def _batch(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the squared difference of the sample correlations, divided by B."""
    q, p = (teacher / temperature).softmax(dim=1), (student / temperature).softmax(dim=1)
    return (q @ q.T - p @ p.T).square().sum() / q.shape[0]
