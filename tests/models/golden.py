"""Golden values of the reference networks, and the rule that fills their weights.

The rule is described in tests/golden/models.
"""

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
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if name.endswith("running_var"):
        value = 0.5 + rng.rand(*shape)
    elif name.endswith("running_mean"):
        value = 0.1 * rng.randn(*shape)
    elif len(shape) >= 2:
        value = rng.randn(*shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif name.endswith("bias"):
        value = 0.1 * rng.randn(*shape)
    else:
        value = 0.8 + 0.4 * rng.rand(*shape)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def checkpoint(name: str) -> dict[str, dict[str, Tensor]]:
    """Return a checkpoint in the format of released files."""
    tensors = FACTS[name]["state_dict"]
    return {"model": {key: filled(key, shape) for key, shape in tensors.items()}}
