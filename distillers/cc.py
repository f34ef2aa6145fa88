"""Correlation congruence: penalise products of the errors of consecutive samples of a batch."""

from torch import Tensor, nn

from distillers.base import Batch, Distiller, Features, Setting, Width


class CC(Distiller):
    """L = Σ_{i<B} <δ_i, δ_{i+1}> / (B - 1), δ_i = |g_s(f_s)_i - g_t(f_t)_i|.

    f_s (B, D_s), f_t (B, D_t) are pooled features; g_s, g_t are trained linear layers with `width`
    outputs. Row i of δ (B, width) holds the absolute differences between the two embeddings of
    sample i.

    Source: the code that the paper's authors gave to RepDistiller; the CRD paper uses this code.
    Unlike the paper, which compares correlation matrices of a Taylor-expanded Gaussian kernel, this
    loss compares only consecutive samples. A trivial solution, the same constant for both
    embeddings, makes the loss 0.

    Args:
        setting: The two networks' shapes.
        width: The size of the embeddings, from 1 to 65536; 128 by default.
    """

    paper = (
        "Peng et al. Correlation Congruence for Knowledge Distillation. ICCV 2019. arXiv:1904.01802"
    )
    formula = (
        r"L = \frac{1}{B - 1} \sum_{i < B} \langle \delta_i, \delta_{i+1} \rangle, \quad "
        r"\delta_i = | g_s(f_s)_i - g_t(f_t)_i |",
    )
    reads = ("pooled",)
    relational = True

    def __init__(self, setting: Setting, *, width: Width = 128) -> None:
        super().__init__(setting)
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean product of consecutive samples' errors; 0 for a single sample."""
        delta: Tensor = (
            self.embed_s(student.pooled) - self.embed_t(teacher.pooled)
        ).abs()  # (B, width)
        return (delta[:-1] * delta[1:]).sum() / max(len(delta) - 1, 1)
