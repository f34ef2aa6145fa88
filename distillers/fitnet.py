"""FitNet: a small convolution on a student's stage predicts the same stage of the teacher."""

import torch.nn.functional as F
from torch import Tensor, nn

from distillers.base import Batch, Distiller, Features, Incompatible, Setting, StageIndex


class FitNet(Distiller):
    """L = mean (r(f_s) - f_t)², over samples, channels and positions.

    f_s (B, C_s, H_s, W_s), f_t (B, C_t, H_t, W_t) are the feature maps of one stage. The regressor
    r, a trained convolution with batch norm and ReLU, maps f_s to the shape of f_t.

    Source: the hint loss of the paper, up to a constant factor; RepDistiller for the regressor.
    Unlike the paper, the hint loss is added to the task loss, not minimised in a first phase.

    Args:
        setting: The two networks' shapes.
        stage: The stage, counted from 0, in both networks; 1 by default, RepDistiller's hint layer.
        relu: Whether r ends in a ReLU; true by default. A ReLU cannot output the negative
            values that the feature maps of wide ResNets and MobileNetV2 contain.

    Raises:
        Incompatible: A network does not have this stage, or no regressor fits the two map sizes.
    """

    paper = "Romero et al. FitNets: Hints for Thin Deep Nets. ICLR 2015. arXiv:1412.6550"
    reads = ("stages",)

    def __init__(self, setting: Setting, *, stage: StageIndex = 1, relu: bool = True) -> None:
        super().__init__(setting)
        s, t = setting.student.stages, setting.teacher.stages
        if not 0 <= stage < min(len(s), len(t)):
            raise Incompatible(
                f"stage {stage} is not in both networks: the student has {len(s)} stages, "
                f"the teacher {len(t)}; stages are counted from 0"
            )
        self.stage = stage
        channels = t[stage][0]
        layers = [_resize(s[stage], t[stage]), nn.BatchNorm2d(channels)]
        self.regress = nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared error of the predicted feature map."""
        return F.mse_loss(self.regress(student.stages[self.stage]), teacher.stages[self.stage])


def _resize(student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
    """Return a convolution from the student's map shape (C, H, W) to the teacher's.

    If the student's map is twice as large, the stride is 2. If it is half as large, the convolution
    is transposed with stride 2. Otherwise the kernel size covers the difference in size.
    """
    (c, h, w), (c_t, h_t, w_t) = student, teacher
    if (h, w) == (2 * h_t, 2 * w_t):
        return nn.Conv2d(c, c_t, kernel_size=3, stride=2, padding=1)
    if (2 * h, 2 * w) == (h_t, w_t):
        return nn.ConvTranspose2d(c, c_t, kernel_size=4, stride=2, padding=1)
    if h >= h_t and w >= w_t:
        return nn.Conv2d(c, c_t, kernel_size=(1 + h - h_t, 1 + w - w_t))
    raise Incompatible(
        f"the student's map of {h} x {w} cannot be brought to the teacher's {h_t} x {w_t}; "
        "the student's must be at least as large, or exactly half as large"
    )
