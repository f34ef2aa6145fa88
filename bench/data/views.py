"""Views: functions of an augmented image, so that teacher and student may see different images.

A view is applied after augmentation and mixing. Teacher and student therefore see the same crop and
the same flip. Every view has three channels, so that networks do not change. An unused channel is 0
after normalisation; it contributes nothing to a convolution, and its weights get no gradient.

- `rgb`: the image itself.
- `grey`: 0.299 R + 0.587 G + 0.114 B in all channels.
- `l`, `ab`: the lightness L, or the colours a and b, of CIE Lab (`lab`).
- `low:8`: the image reduced to 8 x 8 pixels and enlarged again.
- `noise:0.1`: the image plus Gaussian noise with a standard deviation of 0.1.
- `channels:0+2`: the channels 0 and 2; the others are 0.
- a modality (named channels) that the data set declares: these channels, as channels 0, 1, 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.data.base import Data, Facts, Split
from bench.errors import unknown
from bench.lazy import F, torch
from bench.seeding import derive

if TYPE_CHECKING:
    from torch import Tensor

RGB = "rgb"
COLOURED = ("grey", "l", "ab")  # views of images with three channels
ARGUMENTS = {"low": "low:<pixels>", "noise": "noise:<deviation>", "channels": "channels:<0+2>"}
VIEWS = (RGB, *COLOURED, *ARGUMENTS.values())
MAX_NOISE = 10.0
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
XYZ = (  # matrix from linear RGB to XYZ, as in scikit-image and ITU-R BT.709
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)  # XYZ of the white D65, 2 degrees
LAB_MIDDLE = (50.0, 6.025, -6.6895)  # middles of L, a and b in CMC's code (HobbitLong/CMC)
LAB_HALF_RANGE = (50.0, 92.208, 101.1675)


def problem(name: str, facts: Facts | None = None) -> str | None:
    """Return why a data set has no view of this name; None if the data set has this view.

    Args:
        name: the view's name.
        facts: the data set; None: a data set of any size with three channels.

    """
    modalities = dict(facts.modalities) if facts else {}
    kind, _, text = name.partition(":")
    if name in modalities:
        return None
    channels = len(facts.mean) if facts else 3
    if kind in ARGUMENTS:
        return _argument_problem(name, kind, text, facts)
    if name not in (RGB, *COLOURED):
        return unknown("view", name, [*VIEWS, *modalities])
    if channels != 3:
        allowed = ", ".join([*modalities, "channels:<0+2>"])
        return f"found view '{name}' of images with {channels} channels. Allowed: {allowed}"
    return None


def _argument_problem(name: str, kind: str, text: str, facts: Facts | None) -> str | None:
    prefix = f"found view '{name}'"
    if kind == "low":
        limit = facts.size if facts else 4096
        is_valid = bool(re.fullmatch(r"[1-9]\d{0,3}", text)) and int(text) <= limit
        return None if is_valid else f"{prefix}. Allowed: low:1 to low:{limit} (pixels of a side)"
    if kind == "noise":
        is_valid = bool(re.fullmatch(r"\d+(\.\d+)?", text)) and 0 < float(text) <= MAX_NOISE
        return None if is_valid else f"{prefix}. Allowed: noise:<above 0, at most {MAX_NOISE:g}>"
    channels = len(facts.mean) if facts else 3
    numbers = (
        [int(n) for n in text.split("+")] if re.fullmatch(r"\d{1,3}(\+\d{1,3})*", text) else []
    )
    if numbers and numbers == sorted(set(numbers)) and numbers[-1] < channels and len(numbers) <= 3:
        return None
    allowed = f"1 to 3 ascending numbers from 0 to {channels - 1}, e.g. channels:0+2"
    return f"{prefix}. Allowed: {allowed}"


def describe(name: str) -> str:
    """Return a view in words, such as `grey images`."""
    kind, _, text = name.partition(":")
    match kind:
        case "rgb" | "grey":
            return f"{'RGB' if kind == RGB else kind} images"
        case "l":
            return "the lightness (L of CIE Lab)"
        case "ab":
            return "the colours (a and b of CIE Lab)"
        case "low" if text:
            return f"images reduced to {text} x {text} pixels"
        case "noise" if text:
            return f"images with Gaussian noise (standard deviation {text})"
        case "channels" if text:
            return f"the channels {text.replace('+', ' and ')}"
    return f"the modality {name}"


class View:
    """A view of normalised images, for a network that expects its own normalisation.

    If the network expects the images' normalisation, the view `rgb` returns the images themselves.

    Args:
        name: the view's name, one that `problem` accepts.
        facts: facts of the images' data set, whose mean and deviation normalised them.
        device: the device of the images.
        network: facts of the data set on which the network was trained; None: `facts`.

    Attributes:
        name: the view's name.

    """

    def __init__(
        self, name: str, facts: Facts, device: torch.device, network: Facts | None = None
    ) -> None:
        network = network or facts
        self.name = name
        self._kind, _, self._text = name.partition(":")
        self._modality = dict(facts.modalities).get(name)
        self._is_identity = name == RGB and (facts.mean, facts.std) == (network.mean, network.std)

        def channels(values: tuple[float, ...]) -> Tensor:
            return torch.tensor(values, device=device).view(-1, 1, 1)

        self._mean, self._std = channels(facts.mean), channels(facts.std)
        self._network_mean, self._network_std = channels(network.mean), channels(network.std)

    def __call__(self, images: Tensor, index: Tensor, *names: object) -> Tensor:
        """Return the view of a batch, (B, 3, S, S).

        Args:
            images: normalised images (B, C, S, S).
            index: the images' indices in their split, (B,).
            *names: texts and numbers that seed the noise, together with an image's index.

        """
        if self._is_identity:
            return images
        seen = self._seen(images * self._std + self._mean, index, names)
        return seen.contiguous(memory_format=torch.channels_last)

    def _seen(self, pixels: Tensor, index: Tensor, names: tuple[object, ...]) -> Tensor:
        """Return the view of images with values from 0 to 1."""
        if self._modality is not None:
            return _only(self._normalised(pixels), self._modality, keep_places=False)
        match self._kind:
            case "l" | "ab":
                return scaled_lab(pixels, (0,) if self._kind == "l" else (1, 2))
            case "grey":
                pixels = _weighted(pixels, LUMA)[:, None].expand_as(pixels)
            case "low":
                pixels = reduced(pixels, int(self._text))
            case "noise":
                noise = gaussian(derive("noise view", *names), index, pixels[0].numel())
                pixels = pixels + float(self._text) * noise.view(pixels.shape)
            case "channels":
                chosen = tuple(map(int, self._text.split("+")))
                is_colour = pixels.shape[1] == 3
                return _only(self._normalised(pixels), chosen, keep_places=is_colour)
        return self._normalised(pixels)

    def _normalised(self, pixels: Tensor) -> Tensor:
        return (pixels - self._network_mean) / self._network_std


def evaluation(
    data: Data, split: Split, batch_size: int, view: View | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images and labels of `data.evaluation` in a view.

    The noise of a test image is the same for every seed and epoch.

    Args:
        data: the data set.
        split: the part to evaluate on.
        batch_size: number of images in a batch.
        view: the view; None: the images themselves.

    """
    start = 0
    for images, labels in data.evaluation(split, batch_size):
        index = torch.arange(start, start + len(images), device=images.device)
        start += len(images)
        yield (view(images, index, split) if view else images), labels


def _only(images: Tensor, channels: tuple[int, ...], *, keep_places: bool) -> Tensor:
    """Return three channels: those chosen, at their own positions or from 0 on; the rest is 0."""
    count, _, height, width = images.shape
    seen = images.new_zeros(count, 3, height, width)
    for place, channel in enumerate(channels):
        seen[:, channel if keep_places else place] = images[:, channel]
    return seen


def _weighted(pixels: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Return the weighted sum of three channels (B, 3, S, S) as (B, S, S)."""
    red, green, blue = (pixels[:, i] * weight for i, weight in enumerate(weights))
    return red + green + blue


def reduced(pixels: Tensor, side: int) -> Tensor:
    """Return images (B, C, S, S) reduced to side x side and enlarged to S x S.

    Both steps are bilinear; the first is antialiased.
    """
    small = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, pixels.shape[2:], mode="bilinear")


def lab(pixels: Tensor) -> Tensor:
    """Return the CIE Lab coordinates (B, 3, S, S) of sRGB images (B, 3, S, S) from 0 to 1.

    The formulas and constants are those of scikit-image's `rgb2lab`, with the white D65:
        linear c = ((c + 0.055) / 1.055)^2.4 if c > 0.04045, else c / 12.92
        (X, Y, Z) = `XYZ` (R, G, B), each divided by its value in `WHITE`
        f(t) = t^(1/3) if t > 0.008856, else 7.787 t + 16 / 116
        L = 116 f(Y) - 16, a = 500 (f(X) - f(Y)), b = 200 (f(Y) - f(Z))
    """
    pixels = pixels.clamp(0, 1)
    linear = torch.where(pixels > 0.04045, ((pixels + 0.055) / 1.055) ** 2.4, pixels / 12.92)
    xyz = torch.stack([_weighted(linear, row) / w for row, w in zip(XYZ, WHITE, strict=True)], 1)
    x, y, z = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def scaled_lab(pixels: Tensor, channels: tuple[int, ...]) -> Tensor:
    """Return some channels of `lab`, scaled to about -1 to 1; the others are 0.

    As in CMC's code, `LAB_MIDDLE` is subtracted, and the difference is divided by `LAB_HALF_RANGE`.
    These constants are not statistics of a data set.
    """
    coordinates = lab(pixels)
    seen = torch.zeros_like(coordinates)
    for i in channels:
        seen[:, i] = (coordinates[:, i] - LAB_MIDDLE[i]) / LAB_HALF_RANGE[i]
    return seen


def gaussian(key: int, index: Tensor, count: int) -> Tensor:
    """Return standard normal numbers (B, count); a row depends only on the key and its index.

    Hashes (the finaliser of SplitMix64) replace a random generator, so that the noise of an image
    does not depend on its batch. Box and Muller's formula turns the hashes into normal numbers.

    Args:
        key: the seed, from 0 to 2^56 - 1.
        index: (B,) int64.
        count: numbers in a row.

    """
    rows = _hash(_hash(index + key)[:, None] + torch.arange(count, device=index.device))
    high, low = _shifted(rows, 40), _shifted(rows, 16) & 0xFFFFFF  # 24 bits each
    radius = (-2 * ((high + 0.5) / 2**24).log()).sqrt()
    return radius * (low * (2 * math.pi / 2**24)).cos()


def _hash(numbers: Tensor) -> Tensor:
    """Return a hash of each int64; products overflow in the same way as unsigned products."""
    numbers = (numbers ^ _shifted(numbers, 30)) * -0x40A7B892E31B1A47
    numbers = (numbers ^ _shifted(numbers, 27)) * -0x6B2FB644ECCEEE15
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Return int64 numbers shifted to the right; zeros enter on the left."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
