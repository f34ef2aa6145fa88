"""Read the official files of CIFAR-100-C from the data root."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError, MissingData

FOLDER = "CIFAR-100-C"
ADDRESS = "https://zenodo.org/records/3555552"


def pictures(root: Path, kind: str, severity: int, labels: Tensor) -> Tensor:
    """Return the official corrupted pictures of one type and severity, (n, 32, 32, 3) uint8.

    Args:
        root: The data root, with a folder `CIFAR-100-C`.
        kind: Name of a file, without `.npy`.
        severity: 1 to 5; a file holds the test images five times, in the order of the severities.
        labels: Classes of the test images (n,), to which the official labels must be equal.

    Raises:
        MissingData: A file is missing.
        BenchError: A file is not the official one.
    """
    n = len(labels)
    block = slice((severity - 1) * n, severity * n)
    official = torch.from_numpy(np.array(_load(root, "labels")[block])).long()
    if official.shape != labels.shape or not torch.equal(official, labels.cpu()):
        raise BenchError(
            f"{root / FOLDER}: labels.npy does not hold the labels of CIFAR-100's test images"
        )
    images = _load(root, kind)
    if images.dtype != np.uint8 or images.shape != (5 * n, 32, 32, 3):
        shape = f"{images.dtype} {images.shape}"
        raise BenchError(
            f"{root / FOLDER}: {kind}.npy is {shape}. Allowed: uint8 {(5 * n, 32, 32, 3)}"
        )
    return torch.from_numpy(np.array(images[block]))


def _load(root: Path, name: str) -> Any:
    path = root / FOLDER / f"{name}.npy"
    if not path.is_file():
        fix = f"Unpack the official archive there ({ADDRESS}), or measure `corrupted` instead"
        raise MissingData(f"{FOLDER}: {path.resolve()} is missing. {fix}")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BenchError(f"{path}: not a file of arrays: {error}") from error
