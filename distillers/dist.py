"""DIST: match the order and the spacing of probabilities, by correlation, not their values."""

from torch import Tensor
from torch.linalg import vector_norm

from distillers.base import Batch, Distiller, Features, NonNegative, Positive, Setting

EPSILON = 1e-8  # of a constant row or column, the correlation is 0


class DIST(Distiller):
    """L = T² · [β (1 - mean_i ρ(p_t, p_s)_i·) + γ (1 - mean_k ρ(p_t, p_s)_·k)].

    p_s, p_t (B, K) are the softmax of the logits of the student and the teacher, divided by the
    temperature T. ρ is Pearson's correlation: of the rows i, one for each sample, and of the
    columns k, one for each class. The product of the norms in ρ's denominator has an added 1e-8.
    A column has one number for each sample, so the second term depends on the size of the batch.
    A single sample has constant columns: the second term is γ, without gradient.

    Source: the paper's inter-class and intra-class relations; the authors' code
    (image_classification_sota) for T² and 1e-8.

    Args:
        setting: Not used, since the loss has no parameters.
        beta: β, at least 0; 1 by default.
        gamma: γ, at least 0; 1 by default.
        temperature: T, above 0; 4 by default, as in the authors' settings for CIFAR-100 (1 on
            ImageNet).
    """

    paper = (
        "Huang, You, Wang, Qian, Xu. Knowledge Distillation from A Stronger Teacher. NeurIPS 2022. "
        "arXiv:2205.10536"
    )
    reads = ("logits",)
    relational = True

    def __init__(
        self,
        setting: Setting,
        *,
        beta: NonNegative = 1.0,
        gamma: NonNegative = 1.0,
        temperature: Positive = 4.0,
    ) -> None:
        super().__init__(setting)
        self.beta, self.gamma, self.temperature = beta, gamma, temperature

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted sum of the terms of samples and of classes, times T²."""
        p_s = (student.logits / self.temperature).softmax(dim=1)
        p_t = (teacher.logits / self.temperature).softmax(dim=1)
        of_samples = 1 - _correlation(p_s, p_t).mean()
        of_classes = 1 - _correlation(p_s.T, p_t.T).mean()
        return self.temperature**2 * (self.beta * of_samples + self.gamma * of_classes)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation of the rows of a and b (R, C), as (R,)."""
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    product = vector_norm(a, dim=1) * vector_norm(b, dim=1)
    correlation: Tensor = (a * b).sum(dim=1) / (product + EPSILON)
    return correlation
