"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 x 28 pixels (Xiao et al. 2017)."""

import gzip
import hashlib
from pathlib import Path

import torch
from torch import Tensor

from bench.data._base import Arrays, Facts
from bench.data._official import official

LARGEST = 32 * 1024**2  # bytes of a compressed file; the official ones have less


class FashionMnist:
    """Four compressed files under FashionMNIST/raw, each unpacked only if its md5 is official."""

    facts = Facts(
        name="fashion_mnist",
        classes=10,
        size=28,
        train=60_000,
        test=10_000,
        mean=(0.2860, 0.2860, 0.2860),
        std=(0.3530, 0.3530, 0.3530),
        # train images, train labels, test images, test labels
        fingerprint="md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d+25c81989df183df01b3e8a0aad5dffbe"
        "+bef4ecab320f06d8554ea6380940ec79+bb300cfdad3c16e7a12a480ee83cd310",
    )
    archive = "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"

    def read(self, root: Path) -> Arrays:
        """All images, one channel, in the official order."""
        from torchvision.datasets import FashionMNIST

        folder, source = root / "FashionMNIST" / "raw", FashionMNIST.mirrors[0]
        images, labels, unseen, answers = official(
            self.facts.name,
            self.archive,
            root,
            lambda download: [
                _numbers(_verified(folder / name, md5, source if download else None))
                for name, md5 in FashionMNIST.resources
            ],
        )
        return Arrays(images[:, None], labels.long(), unseen[:, None], answers.long())


def _verified(path: Path, md5: str, source: str | None) -> bytes:
    """The content of a file, after a download from `source` if there is one; ValueError if other.

    torchvision's own reader would take an unpacked file as it is.
    """
    from torchvision.datasets.utils import download_url

    if source is not None:
        download_url(f"{source}{path.name}", path.parent, md5=md5)
    with path.open("rb") as file:
        content = file.read(LARGEST)
    if hashlib.md5(content).hexdigest() != md5:
        raise ValueError(f"{path.name} is not the official file")
    return content


def _numbers(content: bytes) -> Tensor:
    """The bytes of a compressed idx file, in the shape that its head tells."""
    data = bytearray(gzip.decompress(content))
    dimensions = data[3]
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, 4 + 4 * dimensions, 4)]
    return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape)
