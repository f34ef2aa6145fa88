"""Read the digits of scikit-learn without importing scikit-learn, which takes seconds."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import MissingData
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

FILE = "datasets/data/digits.csv.gz"  # in the package sklearn


def read_digits() -> tuple[Tensor, Tensor]:
    """Return all images (N, 1, 8, 8) uint8, scaled from 0..16 to 0..255, and labels (N,) int64.

    Raises:
        MissingData: scikit-learn is not installed, or its file does not hold the usual images.
    """
    path = _path_in_package("sklearn", FILE)
    try:
        rows = gzip.decompress(path.read_bytes()).decode().split()
        values = torch.tensor([[int(value) for value in row.split(",")] for row in rows])
        pixels, labels = values[:, :64], values[:, 64]
        images = (pixels.double() * (255 / 16)).round().to(torch.uint8).view(-1, 1, 8, 8)
    except (OSError, EOFError, IndexError, RuntimeError, ValueError, zlib.error) as error:
        raise MissingData(f"digits: {path} is damaged; install scikit-learn again") from error
    return images, labels


def _path_in_package(package: str, name: str) -> Path:
    """Return the path of a file in an installed package; the package is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, name)).is_file():
            return path
    raise MissingData(f"digits: no installed {package} has {name}: pip install scikit-learn")
