"""Mixup, CutMix and label smoothing of a batch, as in timm's `Mixup` in batch mode.

Each image x of a batch is mixed with one partner x', the image at the same position from the
batch's end. All images of a batch have the same ratio λ, the share of x. Random numbers depend only
on the seed, the epoch and the batch's number.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import distillers
from bench.data.images import Box
from bench.lazy import torch
from bench.seeding import derive

if TYPE_CHECKING:
    from torch import Tensor

    from distillers import Batch

CUTMIX_SHARE = 0.5  # probability that a batch gets CutMix, if both mixup and CutMix are on


@dataclass(frozen=True)
class Mixing:
    """The settings of mixup, CutMix and label smoothing; a call mixes one batch.

    Attributes:
        mixup: α of mixup (Zhang et al., arXiv:1710.09412): λ is drawn from Beta(α, α), and images
            become λ x + (1 - λ) x'; 0: off.
        cutmix: α of CutMix (Yun et al., arXiv:1905.04899): λ is drawn from Beta(α, α), and a box of
            x' replaces the same box of x. The box has the share 1 - λ of the image's area; 0: off.
        smoothing: share of the labels' probability that is distributed equally over all classes.
        classes: number of classes.

    """

    mixup: float
    cutmix: float
    smoothing: float
    classes: int

    def __call__(
        self, images: Tensor, batch: Batch, strong: Tensor | None, rng: random.Random
    ) -> tuple[Tensor, Batch, Tensor | None]:
        """Return the mixed images, the batch with `targets`, and the mixed second view.

        If mixup, CutMix and smoothing are all off, the arguments are returned unchanged.

        Args:
            images: (B, 3, S, S).
            batch: the labels of the images.
            strong: a second view of the images, which is mixed in the same way; None: no such view.
            rng: the batch's generator, from `batch_rng`.

        """
        if not (self.mixup or self.cutmix or self.smoothing):
            return images, batch, strong
        ratio, box = self._draw(images.shape[-1], rng)
        targets = self._targets(batch.labels)
        targets = ratio * targets + (1 - ratio) * targets.flip(0)
        batch = distillers.Batch(batch.labels, batch.index, batch.epoch, batch.epochs, targets)
        return (
            _mix(images, ratio, box),
            batch,
            strong if strong is None else _mix(strong, ratio, box),
        )

    def _draw(self, size: int, rng: random.Random) -> tuple[float, Box | None]:
        """Return the share λ of the image x, and CutMix's box; None if no box is replaced."""
        chosen = [alpha for alpha in (self.mixup, self.cutmix) if alpha]
        if not chosen:
            return 1.0, None
        is_cutmix = self.cutmix > 0 and (len(chosen) == 1 or rng.random() < CUTMIX_SHARE)
        alpha = self.cutmix if is_cutmix else self.mixup
        ratio = rng.betavariate(alpha, alpha)
        if not is_cutmix:
            return ratio, None
        half = int(size * math.sqrt(1 - ratio)) // 2
        middles = rng.randrange(size), rng.randrange(size)
        left, top = (max(middle - half, 0) for middle in middles)
        right, bottom = (min(middle + half, size) for middle in middles)
        return 1 - (right - left) * (bottom - top) / size**2, (left, top, right, bottom)

    def _targets(self, labels: Tensor) -> Tensor:
        """Return smoothed class probabilities (B, K)."""
        rest = self.smoothing / self.classes
        targets = torch.full((len(labels), self.classes), rest, device=labels.device)
        return targets.scatter_(1, labels[:, None], 1 - self.smoothing + rest)


def batch_rng(seed: int, epoch: int, number: int) -> random.Random:
    """Return the random generator for the mixing of one batch.

    Args:
        seed: the seed of the run.
        epoch: the number of the epoch.
        number: the number of the batch in its epoch.

    """
    return random.Random(derive(seed, "mixing", epoch, number))


def _mix(images: Tensor, ratio: float, box: Box | None) -> Tensor:
    """Return images mixed with the same images in reverse order; channels stay last in memory."""
    if ratio == 1:
        return images
    if box is None:
        return images * ratio + images.flip(0) * (1 - ratio)
    left, top, right, bottom = box
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.flip(0)[..., top:bottom, left:right]
    return mixed
