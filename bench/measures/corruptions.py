"""Corrupted pictures: nine of the nineteen corruptions of Hendrycks and Dietterich.

The constants are those for CIFAR in `make_cifar_c.py` of github.com/hendrycks/robustness (Apache
2.0; Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019). The
pictures of the official CIFAR-100-C were made with other libraries and other noise. An accuracy on
the pictures of this module is therefore not an accuracy on CIFAR-100-C.

A corrupted picture depends only on the picture, the corruption, the severity and the picture's
index. The noise comes from numpy's RandomState, which draws the same numbers in all versions.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from bench.seeding import derive

SEVERITIES = (1, 2, 3, 4, 5)
Picture = NDArray[np.float64]  # (S, S, 3), from 0 to 1
BLUR_RADIUS = 4.0  # in standard deviations, as in skimage


def _gaussian_noise(x: Picture, c: float, rng: RandomState) -> Picture:
    return x + rng.normal(size=x.shape, scale=c)


def _shot_noise(x: Picture, c: float, rng: RandomState) -> Picture:
    return np.divide(rng.poisson(x * c), c)


def _impulse_noise(x: Picture, c: float, rng: RandomState) -> Picture:
    """Set a share c of the values to 0 or 1, with equal probability."""
    flipped, salted = rng.uniform(size=x.shape) <= c, rng.uniform(size=x.shape) <= 0.5
    return np.where(flipped, salted.astype(np.float64), x)


def _blur(x: Picture, c: float, rng: RandomState) -> Picture:
    """Blur with a Gaussian whose standard deviation is c pixels; border pixels are repeated."""
    from scipy.ndimage import gaussian_filter

    blurred: Picture = gaussian_filter(x, (c, c, 0), mode="nearest", truncate=BLUR_RADIUS)
    return blurred


def _contrast(x: Picture, c: float, rng: RandomState) -> Picture:
    mean: Picture = x.mean((0, 1), keepdims=True)
    return (x - mean) * c + mean


def _brightness(x: Picture, c: float, rng: RandomState) -> Picture:
    """Add c to the value of HSV. Hue and saturation stay, so the channels keep their ratios."""
    value: Picture = x.max(2, keepdims=True)
    brighter = np.minimum(value + c, 1.0)
    return np.where(value > 0, x * (brighter / np.where(value > 0, value, 1.0)), brighter)


def _saturate(x: Picture, c: tuple[float, float], rng: RandomState) -> Picture:
    """Replace the saturation s of HSV by c₁ s + c₂; a grey pixel, without a hue, counts as red."""
    value, low = x.max(2, keepdims=True), x.min(2, keepdims=True)
    saturation = (value - low) / np.where(value > 0, value, 1.0)
    changed = np.clip(saturation * c[0] + c[1], 0.0, 1.0)
    red = np.concatenate([value, value * (1 - changed), value * (1 - changed)], axis=2)
    safe = np.where(saturation > 0, saturation, 1.0)
    return np.where(saturation > 0, value - (value - x) * (changed / safe), red)


def _pixelate(picture: Image.Image, c: float) -> Image.Image:
    width, height = picture.size
    small = picture.resize((int(width * c), int(height * c)), Resampling.BOX)
    return small.resize((width, height), Resampling.BOX)


def _jpeg(picture: Image.Image, c: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=c)
    return Image.open(buffer)


NUMERIC: dict[str, tuple[Callable[[Picture, Any, RandomState], Picture], tuple[Any, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "blur": (_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "saturate": (_saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
}
ENCODED: dict[str, tuple[Callable[[Image.Image, Any], Image.Image], tuple[Any, ...]]] = {
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg": (_jpeg, (80, 65, 58, 50, 40)),
}
TYPES = (
    "gaussian_noise", "shot_noise", "impulse_noise", "blur", "contrast", "brightness", "pixelate",
    "jpeg", "saturate",
)  # fmt: skip


def corrupt(images: Tensor, kind: str, severity: int, start: int = 0) -> Tensor:
    """Return corrupted pictures, on the CPU.

    Args:
        images: Pictures (B, S, S, 3) uint8.
        kind: A name of `TYPES`.
        severity: 1 to 5.
        start: Index of the first picture in its split.

    Returns:
        Pictures (B, S, S, 3) uint8.
    """
    if kind in ENCODED:
        encode, constants = ENCODED[kind]
        pictures = (Image.fromarray(image) for image in images.cpu().numpy())
        encoded = [np.array(encode(each, constants[severity - 1])) for each in pictures]
        return torch.from_numpy(np.stack(encoded))
    change, constants = NUMERIC[kind]
    corrupted = np.empty(tuple(images.shape), np.uint8)
    for place, image in enumerate(images.cpu().numpy()):
        rng = RandomState(derive("corrupted", kind, severity, start + place) % 2**32)
        changed = change(image / 255.0, constants[severity - 1], rng)
        corrupted[place] = (np.clip(changed, 0, 1) * 255).astype(np.uint8)  # rounds down
    return torch.from_numpy(corrupted)
