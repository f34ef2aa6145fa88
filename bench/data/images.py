"""Decode image files, and augment training images at random.

Images on the device are augmented in batches, without a Python loop. Image files are augmented one
at a time, by the processes that decode them.
"""

from __future__ import annotations

import io
import math
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image, ImageOps, UnidentifiedImageError

from bench.data.base import Augment, Facts
from bench.data.operations import RandomOperations
from bench.errors import BenchError
from bench.lazy import F, np, torch
from bench.seeding import derive, generator

if TYPE_CHECKING:
    from torch import Tensor

Picture = Image.Image
Box = tuple[int, int, int, int]  # left, top, right, bottom
BILINEAR = Image.Resampling.BILINEAR
MAX_LISTED = 20  # broken files that an error message names
MAX_BITS = 16  # limit for an integer in an image
NUMBERS = "unsigned integers of 8 or 16 bits, or floats from 0 to 1"
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, SAMPLE_FORMAT = 258, 262, 274, 339  # TIFF tags
WHITE_IS_ZERO, SIGNED = 0, 2  # values of PHOTOMETRIC and SAMPLE_FORMAT
END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}  # near the end of a complete file
MARKER_BYTES = 64
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # read formats; EPS contains code
MAX_PIXELS = 64 * 1024**2  # limit for one image
MARGIN = 256 / 224  # for test images: shorter side / side of the central crop
MAX_ATTEMPTS = 10  # draws of a random part; if no part fits, the centre is used
AREA = (0.08, 1.0)  # area of a random part, as a fraction of the image
ASPECT = (3 / 4, 4 / 3)  # width of a random part / height


def decode(file: str | Path | bytes, side: int, name: str = "an archive's image") -> Picture:
    """Decode an image file to a picture with three channels, each of 8 bits.

    Args:
        file: the path or the content (bytes) of the file. The content, not the name, determines the
            format, one of `FORMATS`. If a file contains several pictures, the first is used.
        side: the length in pixels to which the picture's shorter side will be resized later.
        name: the file's name in messages, if `file` is bytes.

    Returns:
        The picture, rotated or mirrored by its EXIF orientation.

    Raises:
        BenchError: the file is not a complete image, or has values other than integers of 8 or 16
            bits and floats from 0 to 1. Or it has more than `MAX_PIXELS` pixels, before or after
            resizing; such images are not decoded.

    """
    try:
        source = io.BytesIO(file) if isinstance(file, bytes) else file
        with Image.open(source, formats=FORMATS) as picture:
            _check_pixels(*picture.size, side)
            return _to_rgb(_upright(_to_8_bits(picture)))
    except Exception as error:  # decoders raise all kinds of exceptions for damaged bytes
        where = name if isinstance(file, bytes) else printable(file)
        raise BenchError(f"{where} cannot be read as an image: {_reason(error)}") from error


def printable(path: str | Path) -> str:
    """Return a path as text; bytes that are not UTF-8 are written as hex digits."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its message names a buffer, not the file
        return f"cannot identify image file. Allowed: {', '.join(FORMATS)}"
    return str(error)


def _upright(picture: Picture) -> Picture:
    """Return a picture, rotated or mirrored by its EXIF orientation."""
    picture.load()
    return ImageOps.exif_transpose(picture) if picture.getexif().get(ORIENTATION) else picture


def _to_rgb(picture: Picture) -> Picture:
    """Return a picture with three channels; transparency is dropped."""
    if picture.mode == "RGB":
        return picture
    if picture.mode == "LAB":
        raise ValueError("its colours are CIELAB. Allowed: grey, RGB, CMYK, YCbCr or a palette")
    if picture.mode in ("P", "PA", "La"):  # Pillow has no exact conversion in one step
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    return picture.convert("RGB")


def _to_8_bits(picture: Picture) -> Picture:
    """Scale a picture of 16-bit integers, or of floats from 0 to 1, to integers from 0 to 255.

    Pictures of 8 bits are returned unchanged. Pillow's own conversion is not used, because Pillow
    cuts off values above 255. Raises ValueError if the picture has other numbers.
    """
    tags = picture.tag_v2 if picture.format == "TIFF" else {}  # type: ignore[attr-defined]
    if SIGNED in tags.get(SAMPLE_FORMAT, ()):
        raise ValueError(f"its numbers are signed integers. Allowed: {NUMBERS}")
    if not picture.mode.startswith(("I", "F")):
        return picture
    numbers = np.asarray(picture)
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    is_float = picture.mode == "F"
    bits = 16 if is_float else tags.get(BITS_PER_SAMPLE, (16,))[0]
    limit = 1 if is_float else 2**bits - 1
    if bits > MAX_BITS or not 0 <= low <= high <= limit:
        raise ValueError(
            f"its numbers are {low:g} to {high:g} (mode {picture.mode}). Allowed: {NUMBERS}"
        )
    levels = np.rint(numbers.astype(np.float64) * (255 / limit)).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts images of 8 bits only
        levels = 255 - levels
    scaled = Image.fromarray(levels)
    scaled.info, exif = picture.info, picture.getexif()
    if orientation := exif.get(ORIENTATION):
        scaled.getexif()[ORIENTATION] = orientation
    return scaled


def check_complete(path: str, content: bytes) -> None:
    """Raise BenchError if a file is not a complete image.

    Some formats end with a marker. A file with this marker counts as complete. All other files are
    decoded; decoding every file would be slow for large folders.

    Args:
        path: the file's path, for the message.
        content: the file's content.

    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check_pixels(*picture.size, 1)
            marker = END_MARKERS.get(picture.format or "")
    except Exception as error:  # decoders raise all kinds of exceptions for damaged bytes
        reason = _reason(error) if content else "the file is empty"
        raise BenchError(f"{printable(path)} cannot be read as an image: {reason}") from error
    if marker is None or marker not in content[-MARKER_BYTES:]:
        decode(content, 1, printable(path))


def _check_pixels(width: int, height: int, side: int) -> None:
    pixels = width * height * max(1.0, side / min(width, height)) ** 2
    if pixels > MAX_PIXELS:
        raise ValueError(
            f"{width} x {height} pixels, resized to a shorter side of {side}, are too many. "
            f"Allowed: {MAX_PIXELS:,} pixels"
        )


def resize_shorter_side(picture: Picture, side: int) -> Picture:
    """Resize a picture so that its shorter side has `side` pixels; keep its aspect ratio."""
    width, height = picture.size
    shorter = min(width, height)
    if shorter == side:
        return picture
    size = (max(side, round(width * side / shorter)), max(side, round(height * side / shorter)))
    return picture.resize(size, BILINEAR)


def crop_centre(picture: Picture, size: int, margin: float = 1.0) -> Picture:
    """Resize the shorter side to size * margin; return the central size x size pixels.

    A picture of size x size pixels is returned unchanged.
    """
    if picture.size == (size, size):
        return picture
    picture = resize_shorter_side(picture, round(size * margin))
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return picture.crop((left, top, left + size, top + size))


def pixels(picture: Picture) -> Tensor:
    """Return the pixels of a picture, (H, W, 3) uint8."""
    return torch.from_numpy(np.array(picture))


def resize_pixels(image: Tensor, size: int) -> Tensor:
    """Return an image (H, W, 3) uint8 on the CPU resized to (size, size, 3).

    Bilinear and antialiased, with torch's integer arithmetic, which is several times as fast as
    Pillow's `resize`.
    """
    batch = image[None].permute(0, 3, 1, 2)
    resized = F.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0)


def decode_all(
    files: Sequence[str], size: int, read: Callable[[str], bytes] | None = None
) -> Tensor:
    """Decode files in their order, cropped to the centre: (N, 3, size, size) uint8.

    Args:
        files: paths of the files, or names that `read` accepts.
        size: side of the decoded images in pixels.
        read: function that returns the content of a file; None: files are opened by their paths.

    Raises:
        BenchError: some files cannot be decoded; the message lists these files.

    """

    def work(file: str) -> Tensor | BenchError:
        try:
            picture = decode(read(file) if read else file, size, printable(file))
            return pixels(crop_centre(picture, size))
        except BenchError as error:
            return error

    with ThreadPoolExecutor() as threads:
        decoded = list(threads.map(work, files))
    if problems := [str(each) for each in decoded if isinstance(each, BenchError)]:
        raise broken_images(problems)
    images = [each for each in decoded if isinstance(each, torch.Tensor)]
    return torch.stack(images).permute(0, 3, 1, 2)


def broken_images(problems: Sequence[str]) -> BenchError:
    """Return an error that lists the messages about broken image files, at most `MAX_LISTED`."""
    rest = len(problems) - MAX_LISTED
    more = [f"and {rest} more"] if rest > 0 else []
    return BenchError("\n".join([*problems[:MAX_LISTED], *more]))


@dataclass(frozen=True)
class CentreView:
    """The transform for evaluation: the central square of a picture, the same in every epoch."""

    size: int

    def __call__(self, picture: Picture, index: int) -> Tensor:
        """Return the central size x size pixels; see `crop_centre`. `index` is ignored."""
        return pixels(crop_centre(picture, self.size, MARGIN))


@dataclass(frozen=True)
class RandomView:
    """The random transform for training; its draws depend only on (seed, epoch, index)."""

    size: int
    augment: Augment
    seed: int
    epoch: int

    def __call__(self, picture: Picture, index: int) -> Tensor:
        """Return a random crop (size, size, 3) of a picture, mirrored at random if `augment.flip`.

        RandAugment's operations follow if `augment.randaugment` is not 0. `index` is the picture's
        index in the split.
        """
        size, pad = self.size, self.augment.crop
        names = self.augment.names(self.epoch, index)
        rng = random.Random(derive(self.seed, "augment", *names))
        if self.augment.resized:
            box = draw_box(picture.width, picture.height, rng)
            image = resize_pixels(pixels(picture.crop(box)), size)
        else:
            picture = resize_shorter_side(picture, size)
            left = rng.randint(-pad, picture.width + pad - size)
            top = rng.randint(-pad, picture.height + pad - size)
            # pixels outside are black
            image = pixels(picture.crop((left, top, left + size, top + size)))
        if self.augment.flip and rng.random() < 0.5:
            image = image.flip(1)
        if magnitude := self.augment.randaugment:
            draws = generator("cpu", self.seed, "randaugment", *names)
            operate = RandomOperations(magnitude, size, 1, draws, draws.device)
            image = operate(image[None], 0)[0]
        return image


def draw_box(width: int, height: int, rng: random.Random) -> Box:
    """Draw a random box in a picture.

    The box's area and the logarithm of its aspect ratio are uniformly distributed. This is the
    usual augmentation for ImageNet (Szegedy et al. 2015, section 6). If no box fits after
    `MAX_ATTEMPTS` draws, the largest central box in the range `ASPECT` is returned.
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


class View(Protocol):
    """A transform of a picture to `size` x `size` pixels."""

    @property
    def size(self) -> int:
        """Side of the returned picture in pixels."""

    def __call__(self, picture: Picture, index: int) -> Tensor:
        """Return the transformed pixels (S, S, 3) uint8; `index` is the index in the split."""


class ImageFiles:
    """A torch data set that decodes image files, one at a time, to (S, S, 3) uint8."""

    def __init__(self, paths: list[str], view: View) -> None:
        # The paths are one array, because sending a list of strings to the workers is slow.
        self.paths = np.array([os.fsencode(path) for path in paths])
        self.view = view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        picture = decode(os.fsdecode(bytes(self.paths[index])), self.view.size)
        return self.view(picture, index)


class Normalizer:
    """Convert uint8 images x to network inputs, (x / 255 - mean) / std for each channel."""

    def __init__(self, facts: Facts, device: torch.device) -> None:
        # Repeat the numbers for a row of S pixels: operations on long rows are faster.
        self.mean = torch.tensor(facts.mean, device=device).repeat(facts.size)
        self.std = torch.tensor(facts.std, device=device).repeat(facts.size)

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, S, S, 3) uint8 as (B, 3, S, S) float32, channels last in memory."""
        rows = images.flatten(2).float()  # (B, S, S * 3)
        rows.div_(255).sub_(self.mean).div_(self.std)
        return rows.view(images.shape).permute(0, 3, 1, 2)


class Crops:
    """Add black pixels on all sides, crop at random to the original size, flip at random.

    The constructor draws the crops and flips of all `count` images of an epoch. A call with images
    (B, S, S, 3) uint8 and `start` uses the draws from index `start` to `start + B - 1`.
    """

    def __init__(self, augment: Augment, count: int, rng: torch.Generator) -> None:
        self.pad = augment.crop
        shape, device = (count,), rng.device
        self.top = torch.randint(2 * self.pad + 1, shape, generator=rng, device=device)
        self.left = torch.randint(2 * self.pad + 1, shape, generator=rng, device=device)
        self.flipped = draw_flips(augment, count, rng)

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Return the augmented images (B, S, S, 3) uint8.

        Rows are copied first, then bytes within each row, because few long copies are fast.
        """
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
    """Resize a random part of each image to the full size (bilinear), then flip at random.

    The part's area, as a fraction of the image, is uniform in the range `AREA`. The logarithm of
    its aspect ratio is uniform between the logarithms of the bounds `ASPECT`. A part has whole
    pixels; a side that is longer than the image is shortened to the image's side. Calls have the
    same arguments as in `Crops`.

    Args:
        augment: Whether images are mirrored.
        size: S, the side of the images in pixels.
        count: Number of images of an epoch.
        rng: Generator on the device of the images.
    """

    def __init__(self, augment: Augment, size: int, count: int, rng: torch.Generator) -> None:
        area, aspect, x, y = torch.rand(4, count, generator=rng, device=rng.device)
        area = AREA[0] + (AREA[1] - AREA[0]) * area
        low, high = (math.log(bound) for bound in ASPECT)
        aspect = torch.exp(low + (high - low) * aspect)
        sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1)  # width, height
        self.sides = (sides * size).round().clamp(1, size).long()  # (count, 2) pixels
        self.corners = (torch.stack([x, y], 1) * (size - self.sides + 1)).long()  # left, top
        self.flipped = draw_flips(augment, count, rng)

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Return the augmented images (B, S, S, 3) uint8."""
        batch = slice(start, start + len(images))
        cut = resized_parts if images.device.type == "cpu" else sampled_parts
        return cut(images, self.corners[batch], self.sides[batch], self.flipped[batch])


def resized_parts(images: Tensor, corners: Tensor, sides: Tensor, flipped: Tensor) -> Tensor:
    """Return a part of each image, resized to the full size, one image at a time.

    Args:
        images: (B, S, S, 3) uint8.
        corners: Left and top of the parts in pixels, (B, 2) int64.
        sides: Width and height of the parts in pixels, (B, 2) int64.
        flipped: Whether the parts are mirrored, (B,) bool.

    Returns:
        (B, S, S, 3) uint8.
    """
    boxes = torch.cat([corners, corners + sides, flipped[:, None]], 1).tolist()
    parts = []
    for image, (left, top, right, bottom, is_flipped) in zip(images, boxes, strict=True):
        part = resize_pixels(image[top:bottom, left:right], len(image))
        parts.append(part.flip(1) if is_flipped else part)
    return torch.stack(parts)


def sampled_parts(images: Tensor, corners: Tensor, sides: Tensor, flipped: Tensor) -> Tensor:
    """Return the parts as `resized_parts` does, up to rounding, in one operation for a GPU."""
    size = images.shape[1]
    scale = sides / size
    centre = (2 * corners + sides) / size - 1  # in -1..1
    theta = torch.cat([torch.diag_embed(scale), centre[:, :, None]], 2)  # (B, 2, 3)
    values = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(theta, list(values.shape), align_corners=False)
    # Pixels beside a part must not enter its border: clamp to the centres of its outer pixels.
    half = scale - 1 / size
    low, high = ((centre + sign * half)[:, None, None] for sign in (-1, 1))
    grid = torch.minimum(torch.maximum(grid, low), high)
    grid = torch.where(flipped[:, None, None, None], grid.flip(2), grid)
    parts = F.grid_sample(values, grid, padding_mode="border", align_corners=False)
    return parts.round().to(torch.uint8).permute(0, 2, 3, 1)


def draw_flips(augment: Augment, count: int, rng: torch.Generator) -> Tensor:
    """Draw which of `count` images are mirrored, (count,) bool.

    The probability is 1/2 if `augment.flip`, otherwise 0.
    """
    drawn = torch.rand(count, generator=rng, device=rng.device) < 0.5
    return drawn & augment.flip


Variation = Crops | ResizedCrops  # called with images and the index of the first draw


def draw_variation(augment: Augment, size: int, count: int, rng: torch.Generator) -> Variation:
    """Draw the augmentation of one epoch of `count` images, on the generator's device."""
    if augment.resized:
        return ResizedCrops(augment, size, count, rng)
    return Crops(augment, count, rng)
