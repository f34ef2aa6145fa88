"""The field's own networks in numbers, and its fill rule (see /tests/golden/models)."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "golden" / "models"
FACTS: dict[str, Any] = json.loads((FOLDER / "models.json").read_text())


def images() -> Tensor:
    return torch.from_numpy(np.load(FOLDER / "input.npy"))


def filled(name: str, shape: list[int]) -> Tensor:
    r = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if name.endswith("running_var"):
        value = 0.5 + r.rand(*shape)
    elif name.endswith("running_mean"):
        value = 0.1 * r.randn(*shape)
    elif len(shape) >= 2:
        value = r.randn(*shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif name.endswith("bias"):
        value = 0.1 * r.randn(*shape)
    else:
        value = 0.8 + 0.4 * r.rand(*shape)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def checkpoint(name: str) -> dict[str, dict[str, Tensor]]:
    """As a released file holds it."""
    tensors = FACTS[name]["state_dict"]
    return {"model": {key: filled(key, shape) for key, shape in tensors.items()}}
