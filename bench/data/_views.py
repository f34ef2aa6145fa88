"""What a network is shown of one decoded picture: its middle, or a random part of its own."""

import math
import random
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from bench.data._augment import AREA, ASPECT
from bench.data._base import Augment
from bench.data._pictures import BILINEAR, Picture, centred, shortened
from bench.seeding import derive

MARGIN = 256 / 224  # the middle is cut after resizing the shorter side to this times the size
ATTEMPTS = 10  # at a random part that fits, before the whole middle is taken

Box = tuple[int, int, int, int]  # left, top, right, bottom


class View(Protocol):
    """Turns a picture into one of the network's size; `index` is its place in the split."""

    @property
    def size(self) -> int:
        """The side of what is returned, in pixels."""

    def __call__(self, picture: Picture, index: int) -> Picture:
        """The size x size picture."""


@dataclass(frozen=True)
class Middle:
    """For testing: the same for every epoch."""

    size: int

    def __call__(self, picture: Picture, index: int) -> Picture:
        """The middle square; a picture that has the size already as it is."""
        return centred(picture, self.size, MARGIN)


@dataclass(frozen=True)
class Varied:
    """For training: by a random stream of each (seed, epoch, index)."""

    size: int
    augment: Augment
    seed: int
    epoch: int

    def __call__(self, picture: Picture, index: int) -> Picture:
        """A random part, perhaps mirrored."""
        rng = random.Random(derive(self.seed, "augment", self.epoch, index))
        if self.augment.resized:
            box = part(picture.width, picture.height, rng)
            picture = picture.resize((self.size, self.size), BILINEAR, box=box)
        else:
            picture = self._cropped(shortened(picture, self.size), rng)
        if self.augment.flip and rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return picture

    def _cropped(self, picture: Picture, rng: random.Random) -> Picture:
        pad, size = self.augment.crop, self.size
        left = rng.randint(-pad, picture.width + pad - size)
        top = rng.randint(-pad, picture.height + pad - size)
        return picture.crop((left, top, left + size, top + size))  # black outside the picture


def part(width: int, height: int, rng: random.Random) -> Box:
    """A random box in a picture: area uniform in AREA, log aspect uniform in ASPECT.

    Szegedy et al. 2015, section 6, as is usual for ImageNet; the middle of the picture, with the
    nearest allowed aspect, if no box of `ATTEMPTS` fits.
    """
    for _ in range(ATTEMPTS):
        area = rng.uniform(*AREA) * width * height
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
