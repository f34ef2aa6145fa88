"""Image files: decoding, resizing, and the part of an image that a network reads."""

import io
import math
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.augment import AREA, ASPECT
from bench.data.base import Augment
from bench.errors import BenchError
from bench.seeding import derive

Picture = Image.Image
Box = tuple[int, int, int, int]  # left, top, right, bottom
BILINEAR = Image.Resampling.BILINEAR
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not EPS, which is a program
MAX_PIXELS = 64 * 1024**2  # of one image
MARGIN = 256 / 224  # test images: shorter side before the central crop, over the crop's side
MAX_ATTEMPTS = 10  # to draw a random part that fits, before the central part is used


def decode(file: Path | bytes, side: int) -> Picture:
    """Decode an image file to three channels.

    Args:
        file: its path or its content. The content determines its format, one of `FORMATS`.
        side: the length in pixels to which its shorter side will be resized.

    Raises:
        BenchError: it is not a complete image, or it has more than `MAX_PIXELS` pixels before or
            after it is resized; it is not decoded then.

    """
    try:
        source = io.BytesIO(file) if isinstance(file, bytes) else file
        with Image.open(source, formats=FORMATS) as picture:
            _check_pixels(*picture.size, side)
            return picture.convert("RGB")
    except Exception as error:  # decoders raise all kinds of exceptions for damaged bytes
        where = "an archive's image" if isinstance(file, bytes) else str(file)
        raise BenchError(f"{where} cannot be read as an image: {error}") from error


def _check_pixels(width: int, height: int, side: int) -> None:
    pixels = width * height * max(1.0, side / min(width, height)) ** 2
    if pixels > MAX_PIXELS:
        raise ValueError(
            f"{width} x {height} pixels, resized to a shorter side of {side}, are too many. "
            f"Allowed: {MAX_PIXELS:,} pixels"
        )


def resize_shorter_side(picture: Picture, side: int) -> Picture:
    """Resize a picture to a shorter side of `side` pixels, antialiased, with the same aspect."""
    width, height = picture.size
    shorter = min(width, height)
    if shorter == side:
        return picture
    size = (max(side, round(width * side / shorter)), max(side, round(height * side / shorter)))
    return picture.resize(size, BILINEAR)


def crop_centre(picture: Picture, size: int, margin: float = 1.0) -> Picture:
    """Return the central size x size pixels, after resizing the shorter side to size * margin.

    A picture of exactly that size is returned unchanged.
    """
    if picture.size == (size, size):
        return picture
    picture = resize_shorter_side(picture, round(size * margin))
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return picture.crop((left, top, left + size, top + size))


def pixels(picture: Picture) -> Tensor:
    """Return the pixels of a picture, (H, W, 3) uint8."""
    return torch.from_numpy(np.array(picture))


def decode_all(files: Iterable[Path | bytes], size: int) -> Tensor:
    """Decode files in their order, cropped to the centre: (N, 3, size, size) uint8."""
    with ThreadPoolExecutor() as threads:
        decoded = list(threads.map(lambda f: pixels(crop_centre(decode(f, size), size)), files))
    return torch.stack(decoded).permute(0, 3, 1, 2)


class View(Protocol):
    """A function from a picture to the part of it that a network reads."""

    @property
    def size(self) -> int:
        """The side of the result in pixels."""

    def __call__(self, picture: Picture, index: int) -> Picture:
        """Return size x size pixels; `index` is the picture's place in its split."""


@dataclass(frozen=True)
class CentreView:
    """The view for evaluation: the same in every epoch."""

    size: int

    def __call__(self, picture: Picture, index: int) -> Picture:
        """Return the central square; a picture of the right size is not changed."""
        return crop_centre(picture, self.size, MARGIN)


@dataclass(frozen=True)
class RandomView:
    """The view for training: drawn from a random stream for each (seed, epoch, index)."""

    size: int
    augment: Augment
    seed: int
    epoch: int

    def __call__(self, picture: Picture, index: int) -> Picture:
        """Return a random part, mirrored with probability 1/2 if `augment` says so."""
        rng = random.Random(derive(self.seed, "augment", self.epoch, index))
        if self.augment.resized:
            box = draw_box(picture.width, picture.height, rng)
            picture = picture.resize((self.size, self.size), BILINEAR, box=box)
        else:
            picture = self._crop(resize_shorter_side(picture, self.size), rng)
        if self.augment.flip and rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return picture

    def _crop(self, picture: Picture, rng: random.Random) -> Picture:
        pad, size = self.augment.crop, self.size
        left = rng.randint(-pad, picture.width + pad - size)
        top = rng.randint(-pad, picture.height + pad - size)
        return picture.crop((left, top, left + size, top + size))  # black outside the picture


def draw_box(width: int, height: int, rng: random.Random) -> Box:
    """Draw a random box in a picture: area uniform in AREA, log aspect uniform in that of ASPECT.

    Szegedy et al. 2015, section 6, as usual for ImageNet. If no box of `MAX_ATTEMPTS` fits, the box
    is central, with the nearest allowed aspect.
    """
    for _ in range(MAX_ATTEMPTS):
        area = rng.uniform(*AREA) * width * height
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
