"""RandAugment and random erasing: random changes of training images after crops and flips.

RandAugment (Cubuk et al., arXiv:1909.13719) applies random operations, such as a rotation, to each
image. The operations and their magnitudes are as in torchvision's `RandAugment`. All images of a
batch with the same operation form a group, which is changed in one call, on the images' device. The
operations are drawn on the CPU, so that the CPU knows the sizes of the groups without waiting for
the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from bench.lazy import F, np, torch

if TYPE_CHECKING:
    from torch import Tensor

OPERATIONS_PER_IMAGE = 2
MAX_MAGNITUDE = 30
ERASED_AREA = (0.02, 0.33)  # as a fraction of the image
ERASED_ASPECT = (0.3, 3.3)  # height over width
MAX_ATTEMPTS = 10  # rectangles drawn per image; if none fits, nothing is erased

Operation = Callable[["Tensor"], "Tensor"]  # of images (n, 3, S, S) uint8


@cache
def operations(magnitude: int, size: int, device: torch.device) -> list[tuple[Operation, ...]]:
    """Return RandAugment's operations on images (n, 3, size, size) uint8.

    Args:
        magnitude: the strength of the operations, from 0 to 30.
        size: side of the images in pixels.
        device: the device of the images.

    Returns:
        A tuple for each of 14 operations. The tuple contains two functions, for a positive and a
        negative magnitude, or one function if the magnitude has no sign.

    """
    from torchvision.transforms.v2 import functional as vision

    def level(largest: float) -> float:  # in float32, as in torchvision
        return float(torch.linspace(0.0, largest, MAX_MAGNITUDE + 1)[magnitude])

    shear, angle, factor = math.degrees(math.atan(level(0.3))), level(30.0), level(0.9)
    threshold = float(torch.linspace(1.0, 0.0, MAX_MAGNITUDE + 1)[magnitude])
    shift = int(level(150 / 331 * size))

    def both(make: Callable[[int], Operation]) -> tuple[Operation, ...]:
        return make(1), make(-1)

    def affine(sign: int, center: list[float] | None = None, **changes: Any) -> Operation:
        fixed = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
        signed = {key: [sign * value for value in values] for key, values in changes.items()}
        return _moved(lambda x: vision.affine(x, **fixed | signed, center=center), size, device)

    corner = [0.0, 0.0]
    return [
        (lambda x: x,),
        both(partial(affine, center=corner, shear=[shear, 0.0])),
        both(partial(affine, center=corner, shear=[0.0, shear])),
        both(partial(affine, translate=[shift, 0])),
        both(partial(affine, translate=[0, shift])),
        both(lambda sign: _moved(lambda x: vision.rotate(x, sign * angle), size, device)),
        both(lambda sign: lambda x: vision.adjust_brightness(x, 1 + sign * factor)),
        both(lambda sign: lambda x: vision.adjust_saturation(x, 1 + sign * factor)),
        both(lambda sign: lambda x: vision.adjust_contrast(x, 1 + sign * factor)),
        both(lambda sign: lambda x: sharpen(x, 1 + sign * factor)),
        (lambda x: vision.posterize(x, round(8 - magnitude / 7.5)),),
        (lambda x: vision.solarize(x, 255 * threshold),),
        (vision.autocontrast,),
        (vision.equalize,),
    ]


def _moved(move: Operation, size: int, device: torch.device) -> Operation:
    """Return an operation that moves pixels as `move` does, without waiting for the device.

    torchvision's function copies numbers to the device in each call, for which the CPU waits.
    Therefore `move` is called only once, for an image whose values are the pixels' positions. The
    result shows from which position each pixel comes.

    Args:
        move: torchvision's function; pixels from outside the image must become 0.
        size: side of the images in pixels.
        device: the device of the images.

    """
    numbers = torch.arange(1, size**2 + 1, dtype=torch.float32).view(1, 1, size, size)
    sources = move(numbers).flatten().long().to(device)  # 0: outside the image

    def moved(images: Tensor) -> Tensor:
        pixels = F.pad(images.flatten(2), (1, 0))
        return pixels.index_select(2, sources).view(images.shape)

    return moved


def sharpen(images: Tensor, factor: float) -> Tensor:
    """Blend images (n, 3, S, S) uint8 with a smoothed copy, as torchvision's `adjust_sharpness`.

    `adjust_sharpness` itself is not used: each call copies a kernel to the device, for which the
    CPU waits. The convolution sums integers, which float32 adds exactly in any order. Therefore the
    result for an image does not depend on the other images of the batch.

    Args:
        images: the images.
        factor: 1 for no change, 0 for the smoothed copy, above 1 for sharper images.

    """
    pixels = images.float().contiguous()
    if images.shape[-1] <= 2:
        return images
    kernel = torch.ones(3, 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1].fill_(5.0)
    inner = pixels[..., 1:-1, 1:-1]
    smooth = F.conv2d(pixels, kernel, groups=3).div_(13).round_()
    inner.add_(smooth.sub_(inner), alpha=1 - factor)
    return pixels.clamp_(0, 255).to(torch.uint8)


def draw_operations(magnitude: int, size: int, count: int, rng: torch.Generator) -> np.ndarray:
    """Draw two operations, each with a random sign, for each of `count` images.

    Returns:
        The positions of each image's two operations in the list of all functions that `operations`
        returns in its tuples, (2, count).

    """
    counts = [len(signs) for signs in operations(magnitude, size, torch.device("cpu"))]
    first = np.cumsum([0, *counts[:-1]])
    shape = (OPERATIONS_PER_IMAGE, count)
    drawn = torch.randint(len(counts), shape, generator=rng).numpy()
    signs = torch.randint(2, shape, generator=rng).numpy()
    positions: np.ndarray = first[drawn] + signs % np.array(counts)[drawn]
    return positions


def apply_operations(images: Tensor, drawn: np.ndarray, functions: Sequence[Operation]) -> Tensor:
    """Return images after two operations each.

    Args:
        images: (B, 3, S, S) uint8.
        drawn: the positions of each image's first and second operation in `functions`, (2, B).
        functions: the operations.

    """
    for positions in drawn:
        order = np.argsort(positions, kind="stable")
        groups, counts = np.unique(positions, return_counts=True)
        index = torch.from_numpy(order)
        if images.device.type == "cuda":
            index = index.pin_memory().to(images.device, non_blocking=True)
        parts = torch.split(images.index_select(0, index), counts.tolist())
        changed = [functions[i](part) for i, part in zip(groups.tolist(), parts, strict=True)]
        images = torch.empty_like(images).index_copy_(0, index, torch.cat(changed))
    return images


class RandomOperations:
    """RandAugment for the images of one epoch; the constructor draws the operations of all images.

    A call with images (B, S, S, 3) uint8 and `start` uses the draws from index `start` to
    `start + B - 1`.

    Args:
        magnitude: the strength of the operations, 1 to 30; 0: images do not change.
        size: S.
        count: number of images in the epoch.
        rng: a generator on the CPU.
        device: the device of the images.

    """

    def __init__(
        self, magnitude: int, size: int, count: int, rng: torch.Generator, device: torch.device
    ) -> None:
        self._is_off = magnitude == 0
        if self._is_off:
            return
        self._drawn = draw_operations(magnitude, size, count, rng)
        signed = operations(magnitude, size, device)
        self._functions = [function for functions in signed for function in functions]

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Return the changed images (B, S, S, 3) uint8."""
        if self._is_off:
            return images
        drawn = self._drawn[:, start : start + len(images)]
        changed = apply_operations(images.permute(0, 3, 1, 2).contiguous(), drawn, self._functions)
        return changed.permute(0, 2, 3, 1).contiguous()


class Erasing:
    """Random erasing for the images of one epoch (Zhong et al., arXiv:1708.04896).

    A rectangle's area is uniform in `ERASED_AREA`. The logarithm of its aspect ratio is uniform
    between the logarithms of the bounds `ERASED_ASPECT`. torchvision's and timm's `RandomErasing`
    draw from the same distributions. Erased pixels are set to 0 in the normalised image; 0 is the
    data set's mean.

    Args:
        probability: probability that a rectangle is erased; 0: images do not change.
        size: side of the images in pixels.
        count: number of images in the epoch.
        rng: a generator on the device of the images.

    """

    def __init__(self, probability: float, size: int, count: int, rng: torch.Generator) -> None:
        self._is_off = probability == 0
        if self._is_off:
            return
        draw = partial(torch.rand, generator=rng, device=rng.device)
        is_erased = draw(count) < probability
        area, aspect = draw(2, MAX_ATTEMPTS, count)
        area = (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area) * size**2
        low, high = (math.log(bound) for bound in ERASED_ASPECT)
        aspect = torch.exp(low + (high - low) * aspect)
        heights, widths = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        fits = (heights < size) & (widths < size)
        first = fits.to(torch.uint8).argmax(0, keepdim=True)  # the first that fits; 0 if none fits
        height, width, fit = (x.gather(0, first)[0] for x in (heights, widths, fits))
        top, left = draw(2, count)
        self._top = (top * (size - height + 1)).floor()
        self._left = (left * (size - width + 1)).floor()
        self._bottom = torch.where(is_erased & fit, self._top + height, self._top)
        self._right = self._left + width

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Erase rectangles of normalised images (B, 3, S, S) in place; return the images.

        The call uses the draws from index `start` to `start + B - 1`.
        """
        if self._is_off:
            return images
        batch = slice(start, start + len(images))
        pixel = torch.arange(images.shape[-1], device=images.device)
        rows = (pixel >= self._top[batch, None]) & (pixel < self._bottom[batch, None])
        columns = (pixel >= self._left[batch, None]) & (pixel < self._right[batch, None])
        return images.masked_fill_(rows[:, None, :, None] & columns[:, None, None], 0.0)
