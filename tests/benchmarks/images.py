"""Part `images`: hashing of a folder of images, as `bench plan` does it, with and without cache."""

import io
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.fingerprint import SETTLED_S
from bench.data.folder import Folder
from tests.benchmarks.table import Row
from tests.benchmarks.timing import time_call
from tests.benchmarks.workload import Workload

CLASSES, SIZE, DISTINCT, FILES_PER_RUN = 100, 64, 50, 10
TEST_SHARE = 0.1


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
