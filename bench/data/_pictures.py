"""Image files as bytes of pixels: decoding, resizing, cutting."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.errors import BenchError

Picture = Image.Image
BILINEAR = Image.Resampling.BILINEAR
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not EPS, which is a program
MOST_PIXELS = 64 * 1024**2  # of one image


def opened(file: Path | bytes, side: int) -> Picture:
    """An image file, decoded to three channels; BenchError if it is not a whole image.

    Its format is told by its content, and must be one of `FORMATS`. It has at most `MOST_PIXELS`,
    also after its shorter side is resized to `side`, or nothing is decoded.
    """
    try:
        with Image.open(
            io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS
        ) as picture:
            _bounded(*picture.size, side)
            return picture.convert("RGB")
    except Exception as error:  # decoders of broken bytes raise whatever they come upon
        where = "an archive's image" if isinstance(file, bytes) else str(file)
        raise BenchError(f"{where} cannot be read as an image: {error}") from error


def _bounded(width: int, height: int, side: int) -> None:
    pixels = width * height * max(1.0, side / min(width, height)) ** 2
    if pixels > MOST_PIXELS:
        asked = f"{width} x {height} pixels, shown with a shorter side of {side}"
        raise ValueError(f"{asked}, are too many. Allowed: {MOST_PIXELS:,}")


def shortened(picture: Picture, side: int) -> Picture:
    """The picture with its shorter side resized to `side`, antialiased; its aspect kept."""
    width, height = picture.size
    shorter = min(width, height)
    if shorter == side:
        return picture
    size = (max(side, round(width * side / shorter)), max(side, round(height * side / shorter)))
    return picture.resize(size, BILINEAR)


def centred(picture: Picture, size: int, margin: float = 1.0) -> Picture:
    """The middle size x size pixels, after resizing the shorter side to size * margin.

    A picture that has that size already is left as it is.
    """
    if picture.size == (size, size):
        return picture
    picture = shortened(picture, round(size * margin))
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return picture.crop((left, top, left + size, top + size))


def pixels(picture: Picture) -> Tensor:
    """(H, W, 3) uint8."""
    return torch.from_numpy(np.array(picture))


def stack(files: Iterable[Path | bytes], size: int) -> Tensor:
    """All files decoded, in their order, cut to the middle size x size: (N, 3, size, size)."""
    with ThreadPoolExecutor() as threads:
        decoded = list(threads.map(lambda file: pixels(centred(opened(file, size), size)), files))
    return torch.stack(decoded).permute(0, 3, 1, 2)
