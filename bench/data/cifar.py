"""CIFAR-10 and CIFAR-100: 60,000 colour photographs of 32 x 32 pixels (Krizhevsky 2009)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.data._base import Arrays, Facts
from bench.data._official import official


@dataclass(frozen=True)
class Cifar:
    """One of the two; torchvision compares every pickle's md5 with the official one, then loads."""

    facts: Facts
    archive: str
    kind: str  # the class in torchvision.datasets

    def read(self, root: Path) -> Arrays:
        """All images and fine labels, in the official order."""
        from torchvision import datasets

        kind = getattr(datasets, self.kind)
        train, test = official(
            self.facts.name,
            self.archive,
            root,
            lambda download: [kind(root, train=t, download=download) for t in (True, False)],
        )
        return Arrays(*_tensors(train), *_tensors(test))


def _tensors(part: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part.data).permute(0, 3, 1, 2), torch.tensor(part.targets)


CIFAR10 = Cifar(
    Facts(
        name="cifar10",
        classes=10,
        size=32,
        train=50_000,
        test=10_000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        fingerprint="md5:c58f30108f718f92721af3b95e74349a",
    ),
    archive="cifar-10-python.tar.gz (unpacked: cifar-10-batches-py/)",
    kind="CIFAR10",
)

CIFAR100 = Cifar(
    Facts(
        name="cifar100",
        classes=100,
        size=32,
        train=50_000,
        test=10_000,
        mean=(0.5071, 0.4867, 0.4408),  # as RepDistiller and the papers' tables use them
        std=(0.2675, 0.2565, 0.2761),
        fingerprint="md5:eb9058c3a382ffc7106e4002c42a8d85",
    ),
    archive="cifar-100-python.tar.gz (unpacked: cifar-100-python/)",
    kind="CIFAR100",
)
