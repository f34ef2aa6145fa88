"""Correlation congruence: embeddings agree, and disagree alike for neighbours in the batch."""

from torch import Tensor, nn

from distillers._base import Batch, Distiller, Features, Setting
from distillers._options import Width


class CC(Distiller):
    """L = Σ_{i<B} <δ_i, δ_{i+1}> / (B - 1), δ_i = |g_s(f_s) - g_t(f_t)|_i.

    f are the pooled features, g_s and g_t trained linear maps to `width` numbers.
    Unlike the paper, which compares correlation matrices by a Taylor-expanded Gaussian kernel,
    this is the code that its authors shared with RepDistiller, behind the published tables. It
    couples consecutive samples only, and constant embeddings minimise it.
    """

    paper = (
        "Peng et al. Correlation Congruence for Knowledge Distillation. ICCV 2019. arXiv:1904.01802"
    )
    reads = ("pooled",)

    def __init__(self, setting: Setting, *, width: Width = 128) -> None:
        super().__init__(setting)
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The mean product of neighbouring samples' errors; 0 for a single sample."""
        delta: Tensor = (
            self.embed_s(student.pooled) - self.embed_t(teacher.pooled)
        ).abs()  # (B, width)
        return (delta[:-1] * delta[1:]).sum() / max(len(delta) - 1, 1)
