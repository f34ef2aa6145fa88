"""Parts `images`, `decoding`, `crops`: hashing a folder, photographs, and crops in memory."""

import io
import os
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.data import Augment
from bench.data.base import IMAGENET_CHANNELS
from bench.data.fingerprint import SETTLED_S
from bench.data.folder import Folder
from bench.data.imagenet import ValidationView
from bench.data.images import (
    ImageFiles,
    RandomView,
    ResizedCrops,
    View,
    decode,
    resized_parts,
    sampled_parts,
)
from tests.benchmarks.table import Row, divide
from tests.benchmarks.timing import time_call
from tests.benchmarks.workload import Workload
from tests.conftest import PACK

CLASSES, SIZE, DISTINCT, FILES_PER_RUN = 100, 64, 50, 10
TEST_SHARE = 0.1
PHOTOGRAPHS, SIDE = 100, 224
SHAPE, QUALITY = (500, 375), 98  # the usual shape of ImageNet's images; their files are large
FOLDER = "ImageFolder"


def images(load: Workload) -> list[Row]:
    """Time the facts of a folder with `FILES_PER_RUN * load.runs` JPEG files of 64 x 64."""
    count = FILES_PER_RUN * load.runs
    per_class = count // CLASSES
    test = max(1, round(TEST_SHARE * per_class))
    first, cached = [], []
    with tempfile.TemporaryDirectory() as base:
        _write_folder(Path(base) / "images", {"train": per_class - test, "val": test})
        time.sleep(SETTLED_S)  # younger files are not remembered
        before = os.environ.get("XDG_CACHE_HOME")
        try:
            for turn in range(load.rounds):
                os.environ["XDG_CACHE_HOME"] = f"{base}/cache{turn}"
                first.append(time_call(lambda: _facts(base), load))
                cached.append(time_call(lambda: _facts(base), load))
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before
    what = f"hashes of {per_class * CLASSES:,} JPEG files of {SIZE} x {SIZE}"
    return [
        Row("images", f"{what}, first time", first, "s", target="≤ 20"),
        Row("images", f"{what}, from the cache", cached, "s"),
    ]


def decoding(load: Workload) -> list[Row]:
    """Time the decoding of photographs to 224 x 224 pixels, as a worker of a streamed set does it.

    `ImageFolder` is torchvision's, with the usual transforms of ImageNet.

    The photographs are spread over imagenette_100.tar, which is not part of the repository. They
    are enlarged from 224 x 224 pixels to the usual shape of ImageNet's images.
    """
    views: dict[str, View | None] = {
        "decoding alone": None,
        "random part and flip": RandomView(SIDE, Augment(crop=0, resized=True), 0, 1),
        "view for evaluation": ValidationView(SIDE),
    }
    samples: dict[str, list[float]] = {name: [] for name in [*views, FOLDER]}
    with tempfile.TemporaryDirectory() as base:
        paths = _write_photographs(Path(base))
        size = sum(path.stat().st_size for path in map(Path, paths)) // len(paths)
        folder = _image_folder(Path(base))
        for _ in range(load.rounds):
            for name, view in views.items():
                seconds = time_call(lambda view=view: _decode(paths, view), load)
                samples[name].append(1000 * seconds / len(paths))
            seconds = time_call(lambda: [folder[index] for index in range(len(folder))], load)
            samples[FOLDER].append(1000 * seconds / len(paths))
    what = f"an image of {SHAPE[0]} x {SHAPE[1]} pixels, {size // 1000} kB"
    ratios = {"random part and flip": "≥ 2"}
    return [
        Row("decoding", f"{name}: {what}", times, "ms", "ImageFolder / this" if target else "",
            divide(samples[FOLDER], times) if target else (), target)
        for name, times in samples.items()
        for target in [ratios.get(name, "")]
    ]  # fmt: skip


def crops(load: Workload) -> list[Row]:
    """Time resized crops of images in memory: one by one, as on a CPU, or in one operation."""
    count = PHOTOGRAPHS
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, SIDE, SIDE, 3), generator=rng, dtype=torch.uint8)
    drawn = ResizedCrops(Augment(crop=0, resized=True), SIDE, count, rng)
    ways = {"one by one": resized_parts, "in one operation": sampled_parts}
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(load.rounds):
        for name, cut in ways.items():
            draws = drawn.corners, drawn.sides, drawn.flipped
            seconds = time_call(lambda cut=cut, draws=draws: cut(images, *draws), load)
            samples[name].append(1000 * seconds / count)
    what = f"resized crop of an image of {SIDE} x {SIDE} pixels in memory"
    ratios = divide(samples["in one operation"], samples["one by one"])
    one, other = (f"{what}, {name}" for name in ways)
    return [
        Row("crops", one, samples["one by one"], "ms", "in one operation / this", ratios, "≥ 3"),
        Row("crops", other, samples["in one operation"]),
    ]


def _image_folder(folder: Path) -> Any:
    """Return torchvision's data set of the same photographs, as images for a network."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    return ImageFolder(
        str(folder),
        transforms.Compose([
            transforms.RandomResizedCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(*IMAGENET_CHANNELS),
        ]),
    )  # fmt: skip


def _write_photographs(folder: Path) -> list[str]:
    """Write photographs of `SHAPE`; return their paths."""
    paths = []
    (folder / "class").mkdir()
    with tarfile.open(PACK / "imagenette_100.tar") as tar:
        names = sorted(name for name in tar.getnames() if name.endswith(".JPEG"))
        for index, name in enumerate(names[:: len(names) // PHOTOGRAPHS][:PHOTOGRAPHS]):
            file = tar.extractfile(name)
            assert file
            picture = decode(file.read(), SIDE).resize(SHAPE, Image.Resampling.LANCZOS)
            paths.append(str(folder / "class" / f"{index}.jpg"))
            picture.save(paths[-1], quality=QUALITY)
    return paths


def _decode(paths: list[str], view: View | None) -> None:
    if view is None:
        for path in paths:
            decode(path, SIDE)
        return
    files = ImageFiles(paths, view)
    for index in range(len(files)):
        files[index]


def _facts(base: str) -> int:
    return Folder(Path(base) / "images", SIZE, Path(base)).facts.train


def _write_folder(folder: Path, counts: dict[str, int]) -> None:
    """Write files with random pixels; `DISTINCT` of them differ."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(DISTINCT):
        pixels = rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(buffer := io.BytesIO(), "JPEG")
        contents.append(buffer.getvalue())
    for split, count in counts.items():
        for label in range(CLASSES):
            (target := folder / split / f"class{label}").mkdir(parents=True)
            for index in range(count):
                content = contents[(7 * index + label) % DISTINCT]
                (target / f"{index}.jpg").write_bytes(content)
