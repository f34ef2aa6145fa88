"""Factor transfer: the student predicts a compressed form of the teacher's last feature map."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._maps import attention, same_size
from distillers.base import (
    Batch,
    Count,
    Distiller,
    Features,
    NonNegative,
    Positive,
    Pretraining,
    Setting,
)

SLOPE = 0.1  # slope of the LeakyReLUs for negative values


class FT(Distiller):
    """L = mean |a_s - a_t|, a = vec(mean_c F_c²) scaled to length 1.

    The student (s) has the factor F_s, the teacher (t) the factor F_t. F_c is channel c of a
    factor. F_t = encoder(f_t) and F_s = translator(f_s), each (B, k C_t, H, W), are the factors of
    the last stage's maps f_t (B, C_t, H_t, W_t) and f_s (B, C_s, H_s, W_s). The encoder and the
    translator each have three 3 x 3 convolutions, each followed by a LeakyReLU of slope 0.1; the
    translator also has batch norm. If the factors differ in size, they are first average-pooled to
    the smaller height and the smaller width. The mean is over samples and positions.

    The encoder is one half of the paraphraser; the other half, the decoder, has three transposed
    convolutions. A stage before training fits the paraphraser to reconstruct the teacher's map:
        L_pre = mean (decoder(encoder(f_t)) - f_t)²
    This stage trains neither the student nor the translator. Afterwards the paraphraser is frozen.
    The decoder ends in a LeakyReLU, so its reconstruction of strongly negative values is poor, for
    example of those in the last stage of a wide ResNet.

    Source: the paper, with the layers, the loss and the stage before training of RepDistiller.
    Unlike the paper, which compares entire normalised factors, the loss compares the mean of the
    squared channels.
    Unlike in RepDistiller, the stage's learning rate does not depend on the student's name.

    Args:
        setting: The two networks' shapes.
        rate: k, above 0; 0.5 by default. The factor has round(k C_t) channels, at least 1.
        pretraining_epochs: The epochs of the stage before training, at least 1; 30 by default.
        pretraining_lr: The learning rate of that stage, at least 0; 0 means the recipe's rate. 0.01
            by default, as in RepDistiller. RepDistiller uses the recipe's rate only for vgg8.
    """

    paper = (
        "Kim, Park, Kwak. Paraphrasing Complex Network: Network Compression via Factor Transfer. "
        "NeurIPS 2018. arXiv:1802.04977"
    )
    formula = (
        r"L = \operatorname{mean} \, | a_s - a_t |",
        r"a = \frac{v}{\lVert v \rVert}, \quad v = \operatorname{vec} ( \operatorname{mean}_c "
        r"F_c^2 )",
        r"L_{\text{pre}} = \operatorname{mean} \, ( "
        r"\operatorname{decoder}(\operatorname{encoder}(f_t)) - f_t )^2",
    )
    reads = ("stages",)

    def __init__(
        self,
        setting: Setting,
        *,
        rate: Positive = 0.5,
        pretraining_epochs: Count = 30,
        pretraining_lr: NonNegative = 0.01,
    ) -> None:
        super().__init__(setting)
        source, channels = setting.student.stages[-1][0], setting.teacher.stages[-1][0]
        width = max(1, round(rate * channels))
        self.paraphraser = nn.ModuleDict(
            {
                "encoder": _layers(nn.Conv2d, channels, channels, width, width),
                "decoder": _layers(nn.ConvTranspose2d, width, width, channels, channels),
            }
        )
        self.translator = _layers(nn.Conv2d, source, source, width, width, norm=nn.BatchNorm2d)
        self.pretraining = Pretraining(
            pretraining_epochs, pretraining_lr, student=False, parameters=("paraphraser",)
        )

    def pretrain(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared error of the paraphraser's reconstruction.

        Args:
            student: Not used; None.
            teacher: The teacher's features.
            batch: Not used.
        """
        maps = teacher.stages[-1]
        reconstruction = self.paraphraser["decoder"](self.paraphraser["encoder"](maps))
        return F.mse_loss(reconstruction, maps)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean absolute difference of the two factors' attention maps."""
        with torch.no_grad():
            target = self.paraphraser["encoder"](teacher.stages[-1])
        return self.distance(self.translator(student.stages[-1]), target)

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return mean |a_s - a_t|, the mean absolute difference of two factors' attention maps.

        Args:
            student: The student's factor, (B, k C_t, H_s, W_s).
            teacher: The teacher's factor, (B, k C_t, H_t, W_t).

        Returns:
            A scalar.
        """
        s, t = same_size(student, teacher)
        return F.l1_loss(attention(s), attention(t))


def _layers(
    convolution: type[nn.Conv2d | nn.ConvTranspose2d],
    *channels: int,
    norm: Callable[[int], nn.Module] = nn.Identity,
) -> nn.Sequential:
    """Return 3 x 3 convolutions from each number of channels to the next, with LeakyReLUs."""
    layers: list[nn.Module] = []
    for source, target in pairwise(channels):
        layers += [convolution(source, target, 3, padding=1), norm(target), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)
