"""A data set as one file of arrays, for machines that lack it: `packed:PATH` there."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from bench.data._base import Arrays, Facts

PREFIX = "packed:"


def packed(whole: Arrays, facts: Facts) -> bytes:
    """The file's content: safetensors, with the facts among its metadata."""
    arrays = {name: tensor.contiguous() for name, tensor in vars(whole).items()}
    return safetensors.torch.save(arrays, {"facts": json.dumps(asdict(facts))})


@dataclass(frozen=True)
class Packed:
    """The source for `packed:PATH`: what was read of another source, and its facts."""

    path: Path

    @cached_property
    def facts(self) -> Facts:
        """Those of the source that was packed."""
        with safetensors.safe_open(self.path, "pt") as file:
            held = json.loads(file.metadata()["facts"])
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in held.items()}
        return Facts(**plain)

    def read(self, root: Path) -> Arrays:
        """The arrays, as they were read."""
        return Arrays(**safetensors.torch.load_file(self.path))
