"""Flow of the solution procedure: before training, match the products of consecutive maps."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers._maps import paired, same_size
from distillers.base import Batch, Count, Distiller, Features, Incompatible, Pretraining, Setting


class FSP(Distiller):
    """L = Σ_l mean (G_s - G_t)², G = mean_xy f_l+1 f_lᵀ for l = 0…S-1.

    f_0 is the stem's map, before the first stage; f_1…f_S are the stages' maps, (B, C_l, H_l, W_l).
    G (B, C_l+1, C_l) holds the products of all pairs of channels of two consecutive maps, averaged
    over the positions x, y. If the two maps differ in size, they are first average-pooled to the
    smaller height and the smaller width. The mean in L is over samples and pairs of channels.
    Student and teacher may have maps of different sizes, but need equal numbers of channels.

    The loss is minimised in a stage before training, with a constant learning rate. This stage
    trains the student's layers before its classifier. Afterwards, this distiller adds no loss.

    Source: the FSP matrix and the two training stages of the paper, as in RepDistiller.
    Unlike in RepDistiller, the student's classifier is also in training mode in the stage before
    training. The results are the same, because a linear layer computes the same in both modes.

    Args:
        setting: The two networks' shapes; both need the same channels in the stem and each stage.
        pretraining_epochs: The epochs of the stage before training, at least 1; 30 by default.

    Raises:
        Incompatible: The numbers of stages or channels differ between the networks.
    """

    paper = (
        "Yim, Joo, Bae, Kim. A Gift from Knowledge Distillation: Fast Optimization, Network "
        "Minimization and Transfer Learning. CVPR 2017"
    )
    formula = (
        r"L = \sum_{l=0}^{S-1} \operatorname{mean} \, (G_s - G_t)^2, \quad G = "
        r"\operatorname{mean}_{x,y} f_{l+1} f_l^{\top}",
    )
    reads = ("stem", "stages")

    def __init__(self, setting: Setting, *, pretraining_epochs: Count = 30) -> None:
        super().__init__(setting)
        paired(setting.student.stages, setting.teacher.stages)
        s, t = (
            [shape[0] for shape in (network.stem, *network.stages) if shape]
            for network in (setting.student, setting.teacher)
        )
        if s != t:
            raise Incompatible(
                f"the channels of the stem and the stages are {s} in the student, {t} in the "
                "teacher: both need the same numbers"
            )
        self.pretraining = Pretraining(pretraining_epochs, only=True)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over pairs of maps of the mean squared difference of G."""
        pairs = zip(_products(student), _products(teacher), strict=True)
        return torch.stack([F.mse_loss(s, t) for s, t in pairs]).sum()


def _products(features: Features) -> list[Tensor]:
    """Return G (B, C_l+1, C_l) of each pair of consecutive maps."""
    matrices = []
    for pair in zip((features.stem, *features.stages), features.stages, strict=False):
        before, after = (stage.flatten(2) for stage in same_size(*pair))  # (B, C, H·W)
        matrices.append(after @ before.transpose(1, 2) / before.shape[2])
    return matrices
