"""Operations on feature maps that several distillers share: pairs, sizes, convolutions."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm
from distillers.base import Incompatible

MapShape = tuple[int, int, int]  # (C, H, W)


def paired(
    student: Sequence[MapShape], teacher: Sequence[MapShape]
) -> list[tuple[MapShape, MapShape]]:
    """Return one pair per stage: the shape in the student and the shape in the teacher.

    Args:
        student: The shapes (C, H, W) of the student's stages.
        teacher: The shapes (C, H, W) of the teacher's stages.

    Raises:
        Incompatible: The networks have different numbers of stages.
    """
    s, t = len(student), len(teacher)
    if s != t:
        raise Incompatible(f"the student has {s} stages, the teacher {t}: not the same number")
    return list(zip(student, teacher, strict=True))


def same_size(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool two feature maps (B, C, H, W) to the smaller height and the smaller width."""
    size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
    return pool(a, size), pool(b, size)


def pool(stage: Tensor, size: tuple[int, int]) -> Tensor:
    """Average-pool a feature map (B, C, H, W) to a height and a width."""
    return stage if stage.shape[2:] == size else F.adaptive_avg_pool2d(stage, size)


def attention(stage: Tensor, power: float = 2.0) -> Tensor:
    """Return the attention map (B, H·W): mean_c |f_c|^p, with each row scaled to length 1.

    Args:
        stage: The feature map f, (B, C, H, W); f_c is channel c.
        power: The exponent p.
    """
    raised = stage.square() if power == 2 else stage.abs().pow(power)
    return F.normalize(raised.mean(1).flatten(1), dim=1)


def resizer(student: MapShape, teacher: MapShape) -> nn.Module:
    """Return a convolution from the student's map shape (C, H, W) to the teacher's.

    If the student's map is twice as high and wide as the teacher's, the stride is 2. If it is half
    as high and wide, the convolution is transposed with stride 2. Otherwise the kernel is larger
    than the difference in size by 1.

    Args:
        student: The shape of the student's map.
        teacher: The shape of the teacher's map.

    Raises:
        Incompatible: No convolution fits the two sizes.
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


def bottleneck(channels: int, inner: int, outer: int) -> list[nn.Module]:
    """Return convolutions of 1 x 1, 3 x 3 and 1 x 1 from `channels` to `inner` to `outer` channels.

    The convolutions have no bias. A batch norm and a ReLU follow each of the first two.
    """
    return [
        nn.Conv2d(channels, inner, kernel_size=1, bias=False),
        BatchNorm(inner),
        nn.ReLU(),
        nn.Conv2d(inner, inner, kernel_size=3, padding=1, bias=False),
        BatchNorm(inner),
        nn.ReLU(),
        nn.Conv2d(inner, outer, kernel_size=1, bias=False),
    ]
