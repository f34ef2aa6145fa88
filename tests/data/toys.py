"""Small generated data sets."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.data import Arrays, Facts

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8)


def facts(**changes: object) -> Facts:
    defaults = {
        "name": "toy",
        "classes": 3,
        "size": 6,
        "train": 21,
        "test": 9,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.25, 0.3),
        "fingerprint": "sha256:toy",
    }
    return Facts(**{**defaults, **changes})


class Toy:
    """Three classes with 7 training and 3 test images each, in turn."""

    def __init__(self, size: int = 6, **changes: object) -> None:
        self.facts = facts(size=size, **changes)

    def read(self, root: Path) -> Arrays:
        train, test = noise(21, 3, self.size, self.size), noise(9, 3, self.size, self.size, seed=1)
        return Arrays(train, torch.arange(21) % 3, test, torch.arange(9) % 3)

    @property
    def size(self) -> int:
        return self.facts.size


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def image_folder(top: Path, counts: Mapping[str, Mapping[str, int]], size: int = 8) -> Path:
    """Write images of different noise; counts: {"train": {"cat": 3, "dog": 3}, "val": {...}}."""
    seed = 0
    for split, classes in counts.items():
        for name, count in classes.items():
            for place in range(count):
                seed += 1
                pixels = noise(size, size, 3, seed=seed).numpy()
                write(top / split / name / f"{place}.png", pixels)
    return top
