"""SimKD: the student learns the teacher's last map and predicts with the teacher's classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm
from distillers._maps import bottleneck, pool
from distillers.base import Batch, Count, Distiller, Features, Incompatible, Setting


class SimKD(Distiller):
    """L = mean (φ(F_s) - F_t)², over samples, channels and positions.

    F_s (B, C_s, H_s, W_s), F_t (B, C_t, H_t, W_t) are the maps that the networks pool for their
    classifiers. Both are average-pooled to the smaller height and the smaller width. The projector
    φ consists of three convolutions: 1 x 1 from C_s to C_t / f channels, 3 x 3 with C_t / f
    channels, and 1 x 1 to C_t channels. A batch norm and a ReLU follow each convolution.

    At test time, the logits are V avg(φ(F_s)) + b. V and b are the weight and the bias of the
    teacher's classifier, and avg is the mean over the positions. The student's own classifier is
    not used and never learns.
    The projector and the copy of the teacher's classifier count as parameters of the student. In
    training mode, `forward` copies V and b for each batch, so that the student's weights and
    checkpoints contain V and b.

    Source: the paper; the authors' code (DefangChen/SimKD) for the projector and the default of f.
    The method `simkd` uses this loss alone, without a cross-entropy.
    Unlike the authors' code, which uses the last stage's map, F is always the pooled map. These two
    maps differ in our wide ResNets, MobileNetV2 and ShuffleNetV2. In a wide ResNet, a batch norm
    and a ReLU follow the last stage, so the teacher's classifier would not fit that stage's map.

    Args:
        setting: The two networks' shapes.
        factor: f, the ratio of C_t to the projector's inner channels, at least 1; 2 by default.

    Raises:
        Incompatible: A network does not pool a map, the teacher's classifier is not a linear layer,
            or f is above C_t.
    """

    paper = (
        "Chen, Mei, Zhang, Wang, Feng, Chen. Knowledge Distillation with the Reused Teacher "
        "Classifier. CVPR 2022. arXiv:2203.14001"
    )
    formula = (r"L = \operatorname{mean} \, ( \varphi(F_s) - F_t )^2",)
    reads = ("pooled_map",)
    teacher_reads = ("pooled_map", "classifier")

    def __init__(self, setting: Setting, *, factor: Count = 2) -> None:
        super().__init__(setting)
        s, t = setting.student.pooled_map, setting.teacher.pooled_map
        if s is None or t is None or not setting.teacher.classifier:
            raise Incompatible("both networks must average-pool a map for a linear classifier")
        channels = t[0]
        if factor > channels:
            raise Incompatible(
                f"factor is {factor}, above the {channels} channels of the teacher's map"
            )
        layers = bottleneck(s[0], channels // factor, channels)
        self.transfer = nn.Sequential(*layers, BatchNorm(channels), nn.ReLU())
        self.size = (min(s[1], t[1]), min(s[2], t[2]))
        self.classifier = nn.Linear(setting.teacher.pooled, setting.teacher.logits)
        self.classifier.requires_grad_(False)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared error; in training mode, copy the teacher's classifier."""
        if self.training:
            self._copy_classifier(teacher)
        target = pool(teacher.pooled_map, self.size)
        return F.mse_loss(self._project(student), target)

    def predict(self, student: Features) -> Tensor:
        """Return the logits of the teacher's classifier for the student's projected map."""
        logits: Tensor = self.classifier(self._project(student).mean((2, 3)))
        return logits

    def _project(self, student: Features) -> Tensor:
        projected: Tensor = self.transfer(pool(student.pooled_map, self.size))
        return projected

    @torch.no_grad()
    def _copy_classifier(self, teacher: Features) -> None:
        weight, bias = teacher.classifier.weight, teacher.classifier.bias
        self.classifier.weight.copy_(weight)
        self.classifier.bias.copy_(torch.zeros_like(weight[:, 0]) if bias is None else bias)
