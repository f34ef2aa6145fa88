"""Random crops and flips of a batch on its device, each image its own, without a Python loop."""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data._base import Augment

AREA = (0.08, 1.0)  # of a random resized crop, as a share of the image
ASPECT = (3 / 4, 4 / 3)  # its width over its height


class Variation(Protocol):
    """What is drawn for all images of an epoch, applied to some of them."""

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """(B, S, S, 3) uint8 varied by the draws from `start` on: the same shape and type."""


def variation(augment: Augment, count: int, rng: torch.Generator) -> Variation:
    """Draws for an epoch of `count` images, on the generator's device."""
    return ResizedCrops(augment, count, rng) if augment.resized else Crops(augment, count, rng)


class Crops:
    """Black pixels all around, then a crop of the old size at a random place, then a flip."""

    def __init__(self, augment: Augment, count: int, rng: torch.Generator) -> None:
        self.pad = augment.crop
        shape, device = (count,), rng.device
        self.top = torch.randint(2 * self.pad + 1, shape, generator=rng, device=device)
        self.left = torch.randint(2 * self.pad + 1, shape, generator=rng, device=device)
        self.flipped = flips(augment, count, rng)

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Rows are picked first, whole, then bytes within each row: fewer and longer copies."""
        count, size, _, channels = images.shape
        here, wide = slice(start, start + count), size + 2 * self.pad
        place, pixel = (torch.arange(n, device=images.device) for n in (count, size))
        padded = F.pad(images, (0, 0, *[self.pad] * 4)).view(count * wide, wide * channels)
        rows = (place * wide + self.top[here])[:, None] + pixel  # (B, S)
        picked = padded.index_select(0, rows.flatten()).view(count, size, wide * channels)
        columns = torch.where(self.flipped[here, None], size - 1 - pixel, pixel)  # (B, S)
        columns = (columns + self.left[here, None])[:, :, None] * channels
        bytes_ = (columns + torch.arange(channels, device=images.device)).flatten(1)
        bytes_ = bytes_[:, None].expand(count, size, size * channels)
        return picked.gather(2, bytes_).view(images.shape)


class ResizedCrops:
    """A random part of each image, resized bilinearly to the whole, then a flip.

    The part's area is uniform in `AREA`, the logarithm of its aspect uniform in `ASPECT`'s; sides
    longer than the image are cut to it.
    """

    def __init__(self, augment: Augment, count: int, rng: torch.Generator) -> None:
        area, aspect, x, y = torch.rand(4, count, generator=rng, device=rng.device)
        area = AREA[0] + (AREA[1] - AREA[0]) * area
        low, high = (math.log(bound) for bound in ASPECT)
        aspect = torch.exp(low + (high - low) * aspect)
        self.width = (area * aspect).sqrt().clamp(max=1)  # shares of the image's side
        self.height = (area / aspect).sqrt().clamp(max=1)
        self.x = (2 * x - 1) * (1 - self.width)  # the part's centre, in -1..1
        self.y = (2 * y - 1) * (1 - self.height)
        self.mirror = torch.where(flips(augment, count, rng), -1.0, 1.0)

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """One affine map for each image."""
        here = slice(start, start + len(images))
        zero = torch.zeros_like(self.x[here])
        across = torch.stack([self.width[here] * self.mirror[here], zero, self.x[here]], 1)
        down = torch.stack([zero, self.height[here], self.y[here]], 1)
        pixels = images.permute(0, 3, 1, 2).float()
        theta = torch.stack([across, down], 1)  # (B, 2, 3)
        grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
        parts = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        return parts.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def flips(augment: Augment, count: int, rng: torch.Generator) -> Tensor:
    """Which of `count` images are mirrored (count,): half of them on average, or none."""
    drawn = torch.rand(count, generator=rng, device=rng.device) < 0.5
    return drawn & augment.flip
