"""Knowledge distillation: the student imitates the teacher's softened class probabilities."""

import torch.nn.functional as F
from torch import Tensor

from distillers._logits import require_standardisable, standardised
from distillers.base import Batch, Distiller, Features, Positive, Setting


class KD(Distiller):
    """L = T² · mean_i KL(softmax(z_t / T)_i ‖ softmax(z_s / T)_i).

    z_s, z_t (B, K) are the logits of the student and the teacher, T is the temperature. The factor
    T² keeps the gradient's size about constant when T changes.

    With `standardise`, the logits of each sample first get mean 0 and standard deviation 1:
    z ← (z - m) / (σ + 1e-7). m and σ (B, 1) are the mean and the standard deviation, with the
    divisor K - 1. The loss then does not change if the student's logits are shifted or scaled by a
    positive factor. Only the cross-entropy with the labels determines the scale of these logits.

    Source: the soft-target term of the paper, as in RepDistiller. `standardise`: Sun et al., Logit
    Standardization in Knowledge Distillation, CVPR 2024, arXiv:2403.01427.
    Unlike the paper, the loss is the divergence from the soft targets, not the cross-entropy. The
    two differ by the entropy of the soft targets, which has no gradient.
    In the code of logit standardisation, KD without standardisation has the weight and the
    temperature of standardised KD. Here, the method `kd` has a different weight and temperature
    than standardised KD (the method `lskd`).

    Args:
        setting: The number of classes.
        temperature: T, above 0; 4 by default, as in the CRD paper on CIFAR-100.
        standardise: Whether to standardise the logits; False by default.

    Raises:
        Incompatible: `standardise` is true and the data set has fewer than three classes.
    """

    paper = "Hinton, Vinyals, Dean. Distilling the Knowledge in a Neural Network. arXiv:1503.02531"
    formula = (
        r"L = T^2 \operatorname{mean}_i \operatorname{KL} ( \operatorname{softmax}(z_t / T)_i "
        r"\, \Vert \, \operatorname{softmax}(z_s / T)_i )",
    )
    reads = ("logits",)
    new_options = ("standardise",)

    def __init__(
        self, setting: Setting, *, temperature: Positive = 4.0, standardise: bool = False
    ) -> None:
        super().__init__(setting)
        self.temperature, self.standardise = temperature, standardise
        if standardise:
            require_standardisable(setting)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean divergence over the batch, in nats, times T²."""
        z_s, z_t = student.logits, teacher.logits
        if self.standardise:
            z_s, z_t = standardised(z_s), standardised(z_t)
        log_p = F.log_softmax(z_s / self.temperature, dim=1)
        log_q = F.log_softmax(z_t / self.temperature, dim=1)
        kl = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
        return kl * self.temperature**2
