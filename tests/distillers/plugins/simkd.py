"""SimKD as a plugin: the student predicts with the teacher's classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers import Batch, Distiller, Features, Setting


class OwnSimKD(Distiller):
    """L = mean (φ(F_s) - F_t)² of the maps that both networks pool, F_s and F_t."""

    paper = "Chen et al. Knowledge Distillation with the Reused Teacher Classifier. CVPR 2022"
    reads = ("pooled_map",)
    teacher_reads = ("pooled_map", "classifier")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        (c_s, *size_s), (c_t, *size_t) = setting.student.pooled_map, setting.teacher.pooled_map
        inner = c_t // 2
        self.size = tuple(map(min, size_s, size_t))
        self.transfer = nn.Sequential(
            *self.layer(c_s, inner, 1), *self.layer(inner, inner, 3), *self.layer(inner, c_t, 1)
        )
        self.classifier = nn.Linear(c_t, setting.teacher.logits).requires_grad_(False)

    def layer(self, channels: int, target: int, size: int) -> tuple[nn.Module, ...]:
        convolution = nn.Conv2d(channels, target, size, padding=size // 2, bias=False)
        return convolution, nn.BatchNorm2d(target), nn.ReLU()

    def project(self, student: Features) -> Tensor:
        return self.transfer(F.adaptive_avg_pool2d(student.pooled_map, self.size))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.classifier.weight.copy_(teacher.classifier.weight)
                self.classifier.bias.copy_(teacher.classifier.bias)
        target = F.adaptive_avg_pool2d(teacher.pooled_map, self.size)
        return F.mse_loss(self.project(student), target)

    def predict(self, student: Features) -> Tensor:
        return self.classifier(self.project(student).mean((2, 3)))
