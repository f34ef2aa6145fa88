"""FitNet: a small convolution on a stage of the student predicts the teacher's same stage."""

import torch.nn.functional as F
from torch import Tensor, nn

from distillers._base import Batch, Distiller, Features, Incompatible, Setting
from distillers._options import Place


class FitNet(Distiller):
    """L = mean (r(f_s) - f_t)², up to a factor the paper's, over samples, channels and places.

    f_s, f_t are the maps of one stage, r a trained convolution with batch norm and ReLU that
    brings f_s to the shape of f_t. `stage` counts from 0; 1 is the hint layer of RepDistiller.
    The ReLU cannot reach the negative values of targets taken before one (wide ResNets,
    MobileNetV2); `relu=False` leaves it out.
    Unlike the paper, the hint is learned together with the task, not in a stage before it.
    """

    paper = "Romero et al. FitNets: Hints for Thin Deep Nets. ICLR 2015. arXiv:1412.6550"
    reads = ("stages",)

    def __init__(self, setting: Setting, *, stage: Place = 1, relu: bool = True) -> None:
        super().__init__(setting)
        s, t = setting.student.stages, setting.teacher.stages
        if not 0 <= stage < min(len(s), len(t)):
            raise Incompatible(
                f"there is no stage {stage}: the student has {len(s)} stages, "
                f"the teacher {len(t)}, counted from 0"
            )
        self.stage = stage
        channels = t[stage][0]
        layers = [resizer(s[stage], t[stage]), nn.BatchNorm2d(channels)]
        self.regress = nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The mean squared error of the predicted map."""
        return F.mse_loss(self.regress(student.stages[self.stage]), teacher.stages[self.stage])


def resizer(student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
    """The convolution from maps of shape student (C, H, W) to maps of shape teacher.

    Twice the size: stride 2; half the size: transposed, stride 2; otherwise a kernel as large as
    the difference in size. A smaller student of any other ratio is `Incompatible`.
    """
    (c, h, w), (c_t, h_t, w_t) = student, teacher
    if (h, w) == (2 * h_t, 2 * w_t):
        return nn.Conv2d(c, c_t, kernel_size=3, stride=2, padding=1)
    if (2 * h, 2 * w) == (h_t, w_t):
        return nn.ConvTranspose2d(c, c_t, kernel_size=4, stride=2, padding=1)
    if h >= h_t and w >= w_t:
        return nn.Conv2d(c, c_t, kernel_size=(1 + h - h_t, 1 + w - w_t))
    raise Incompatible(
        f"no regressor leads from the student's map of {h} x {w} to the teacher's of {h_t} x {w_t}"
    )
