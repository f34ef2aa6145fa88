"""AB as a plugin: a stage before training moves the student's activation boundaries."""

import torch
from torch import Tensor, nn

from distillers import Batch, Distiller, Features, Incompatible, Setting
from distillers.base import Count, Pretraining


class OwnAB(Distiller):
    """L = 3/1000 · 1/B · Σ_l 2^(l-L) Σ (r(s) + 1)² [t ≤ 0, r(s) > -1] + (r(s) - 1)² [t > 0, r(s) ≤ 1].

    s and t are the maps of stage l = 1…L before the ReLU, r is a connector.
    """  # noqa: E501

    paper = "Heo et al. Knowledge Transfer via Distillation of Activation Boundaries. AAAI 2019"
    reads = ("preactivations",)

    def __init__(self, setting: Setting, *, epochs: Count = 30) -> None:
        super().__init__(setting)
        shapes = setting.student.preactivations, setting.teacher.preactivations
        if len(shapes[0]) != len(shapes[1]):
            raise Incompatible(f"{len(shapes[0])} and {len(shapes[1])} stages: not the same number")
        self.connectors = nn.ModuleList(map(connector, *shapes))
        self.pretraining = Pretraining(epochs, parameters=("connectors",), only=True)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        maps = zip(self.connectors, student.preactivations, teacher.preactivations, strict=True)
        losses = [distance(connect(s), t) / len(s) for connect, s, t in maps]
        return 0.003 * sum(loss / 2**later for later, loss in enumerate(reversed(losses)))


def distance(s: Tensor, t: Tensor) -> Tensor:
    below = (t <= 0) & (s > -1)
    above = (t > 0) & (s <= 1)
    return torch.where(below, (s + 1).square(), torch.where(above, (s - 1).square(), 0)).sum()


def connector(student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
    (c_s, h_s, w_s), (c_t, h_t, w_t) = student, teacher
    if student == teacher:
        return nn.Identity()
    if (h_s, w_s) == (2 * h_t, 2 * w_t):
        resize = nn.Conv2d(c_s, c_t, 3, stride=2, padding=1)
    elif (2 * h_s, 2 * w_s) == (h_t, w_t):
        resize = nn.ConvTranspose2d(c_s, c_t, 4, stride=2, padding=1)
    elif h_s >= h_t and w_s >= w_t:
        resize = nn.Conv2d(c_s, c_t, (1 + h_s - h_t, 1 + w_s - w_t))
    else:
        raise Incompatible(f"{student} cannot be brought to {teacher}")
    return nn.Sequential(resize, nn.BatchNorm2d(c_t))
