"""DIST: match probabilities by their correlation, which ignores their mean and their scale."""

from torch import Tensor
from torch.linalg import vector_norm

from distillers.base import Batch, Distiller, Features, NonNegative, Positive, Setting

EPSILON = 1e-8  # makes the correlation of a constant row or column 0, not NaN


class DIST(Distiller):
    """L = T² · [β (1 - mean_i ρ(p_t, p_s)_i·) + γ (1 - mean_k ρ(p_t, p_s)_·k)].

    p_s, p_t (B, K) are the softmax of the logits of the student and the teacher, divided by the
    temperature T. ρ is Pearson's correlation: ρ_i· compares the two rows of sample i, and ρ_·k the
    two columns of class k. 1e-8 is added to the product of the norms in ρ's denominator. A column
    has one number per sample, so the second term depends on the size of the batch. In a batch of
    one sample, all columns are constant, so the second term is γ and has no gradient.

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
    formula = (
        r"L = T^2 \left[ \beta (1 - \operatorname{mean}_i \rho(p_t, p_s)_{i \cdot}) + \gamma "
        r"(1 - \operatorname{mean}_k \rho(p_t, p_s)_{\cdot k}) \right]",
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
        """Return the weighted sum of the two terms, over samples and over classes, times T²."""
        p_s = (student.logits / self.temperature).softmax(dim=1)
        p_t = (teacher.logits / self.temperature).softmax(dim=1)
        of_samples = 1 - _correlation(p_s, p_t).mean()
        of_classes = 1 - _correlation(p_s.T, p_t.T).mean()
        return self.temperature**2 * (self.beta * of_samples + self.gamma * of_classes)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation (R,) of each row of a with the same row of b, both (R, C)."""
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    product = vector_norm(a, dim=1) * vector_norm(b, dim=1)
    correlation: Tensor = (a * b).sum(dim=1) / (product + EPSILON)
    return correlation
