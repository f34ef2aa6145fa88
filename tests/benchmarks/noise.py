"""A plugin of pair.yaml: a data set of random bytes in the shape of CIFAR-100."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bench.data import Arrays
from bench.data.builtin import CIFAR100


class Noise:
    """As many images, classes and pixels as CIFAR-100; the labels cycle through the classes."""

    facts = replace(CIFAR100.facts, name="noise", fingerprint="generated")

    def read(self, root: Path) -> Arrays:
        return Arrays(*self._split(self.facts.train), *self._split(self.facts.test))

    def _split(self, count: int) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(count)
        images = torch.empty(count, 3, 32, 32, dtype=torch.uint8).random_(generator=rng)
        return images, torch.arange(count) % self.facts.classes


DATASETS = {"noise": Noise()}
