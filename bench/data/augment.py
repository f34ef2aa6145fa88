"""Random crops, flips and normalisation of a batch on its device, without a Python loop.

`images.py` does the same for one decoded image file at a time.
"""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data.base import Augment, Facts

AREA = (0.08, 1.0)  # of a random part, as a fraction of the image
ASPECT = (3 / 4, 4 / 3)  # its width over its height


class Normalizer:
    """Bytes to the numbers that networks read, (x / 255 - mean) / std, on one device."""

    def __init__(self, facts: Facts, device: torch.device) -> None:
        # Repeated along a row of pixels: vector instructions need more than three numbers.
        self.mean = torch.tensor(facts.mean, device=device).repeat(facts.size)
        self.std = torch.tensor(facts.std, device=device).repeat(facts.size)

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, S, S, 3) uint8 as (B, 3, S, S) float32, channels last in memory."""
        rows = images.flatten(2).float()  # (B, S, S * 3)
        rows.div_(255).sub_(self.mean).div_(self.std)
        return rows.view(images.shape).permute(0, 3, 1, 2)


class Variation(Protocol):
    """The random draws for all images of an epoch, applied to one batch at a time."""

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Return images (B, S, S, 3) uint8, varied by the B draws from index `start` on."""


def draw_variation(augment: Augment, count: int, rng: torch.Generator) -> Variation:
    """Draw the variation of an epoch of `count` images, on the generator's device."""
    return ResizedCrops(augment, count, rng) if augment.resized else Crops(augment, count, rng)


class Crops:
    """Black pixels on all sides, then a random crop of the original size, then a flip."""

    def __init__(self, augment: Augment, count: int, rng: torch.Generator) -> None:
        self.pad = augment.crop
        shape, device = (count,), rng.device
        self.top = torch.randint(2 * self.pad + 1, shape, generator=rng, device=device)
        self.left = torch.randint(2 * self.pad + 1, shape, generator=rng, device=device)
        self.flipped = draw_flips(augment, count, rng)

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Copy rows first, then bytes within each row: few and long copies."""
        count, size, _, channels = images.shape
        batch, padded_size = slice(start, start + count), size + 2 * self.pad
        place, pixel = (torch.arange(n, device=images.device) for n in (count, size))
        padded = F.pad(images, (0, 0, *[self.pad] * 4))
        padded = padded.view(count * padded_size, padded_size * channels)
        rows = (place * padded_size + self.top[batch])[:, None] + pixel  # (B, S)
        picked = padded.index_select(0, rows.flatten()).view(count, size, padded_size * channels)
        columns = torch.where(self.flipped[batch, None], size - 1 - pixel, pixel)  # (B, S)
        columns = (columns + self.left[batch, None])[:, :, None] * channels
        bytes_ = (columns + torch.arange(channels, device=images.device)).flatten(1)
        bytes_ = bytes_[:, None].expand(count, size, size * channels)
        return picked.gather(2, bytes_).view(images.shape)


class ResizedCrops:
    """A random part of each image, resized bilinearly to the full size, then a flip.

    The part's area is uniform in `AREA`, the logarithm of its aspect uniform in that of `ASPECT`;
    sides longer than the image are cut to the image.
    """

    def __init__(self, augment: Augment, count: int, rng: torch.Generator) -> None:
        area, aspect, x, y = torch.rand(4, count, generator=rng, device=rng.device)
        area = AREA[0] + (AREA[1] - AREA[0]) * area
        low, high = (math.log(bound) for bound in ASPECT)
        aspect = torch.exp(low + (high - low) * aspect)
        self.width = (area * aspect).sqrt().clamp(max=1)  # fractions of the image's side
        self.height = (area / aspect).sqrt().clamp(max=1)
        self.x = (2 * x - 1) * (1 - self.width)  # the part's centre, in -1..1
        self.y = (2 * y - 1) * (1 - self.height)
        self.mirror = torch.where(draw_flips(augment, count, rng), -1.0, 1.0)

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Apply one affine map to each image."""
        batch = slice(start, start + len(images))
        zero = torch.zeros_like(self.x[batch])
        across = torch.stack([self.width[batch] * self.mirror[batch], zero, self.x[batch]], 1)
        down = torch.stack([zero, self.height[batch], self.y[batch]], 1)
        pixels = images.permute(0, 3, 1, 2).float()
        theta = torch.stack([across, down], 1)  # (B, 2, 3)
        grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
        parts = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        return parts.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def draw_flips(augment: Augment, count: int, rng: torch.Generator) -> Tensor:
    """Return which of `count` images are mirrored, (count,) bool: half on average, or none."""
    drawn = torch.rand(count, generator=rng, device=rng.device) < 0.5
    return drawn & augment.flip
