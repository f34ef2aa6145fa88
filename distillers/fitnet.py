"""FitNet: a small convolution on a student's stage predicts the same stage of the teacher."""

import torch.nn.functional as F
from torch import Tensor, nn

from distillers._maps import resizer
from distillers.base import Batch, Distiller, Features, Incompatible, Setting, StageIndex


class FitNet(Distiller):
    """L = mean (r(f_s) - f_t)², over samples, channels and positions.

    f_s (B, C_s, H_s, W_s), f_t (B, C_t, H_t, W_t) are the feature maps of one stage. The regressor
    r, a trained convolution with batch norm and ReLU, maps f_s to the shape of f_t.

    Source: the hint loss of the paper, up to a constant factor; RepDistiller for the regressor.
    Unlike in the paper, this loss is added to the cross-entropy, not minimised in a first phase.

    Args:
        setting: The two networks' shapes.
        stage: The stage, counted from 0, in both networks; 1 by default, as in RepDistiller.
        relu: Whether r ends in a ReLU; true by default. A ReLU cannot output the negative
            values that the feature maps of wide ResNets and MobileNetV2 contain.

    Raises:
        Incompatible: A network does not have this stage, or no regressor fits the two map sizes.
    """

    paper = "Romero et al. FitNets: Hints for Thin Deep Nets. ICLR 2015. arXiv:1412.6550"
    formula = (r"L = \operatorname{mean} \, ( r(f_s) - f_t )^2",)
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
        layers = [resizer(s[stage], t[stage]), nn.BatchNorm2d(channels)]
        self.regress = nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared error of the predicted feature map."""
        return F.mse_loss(self.regress(student.stages[self.stage]), teacher.stages[self.stage])
