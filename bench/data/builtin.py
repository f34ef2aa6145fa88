"""Data sets with a name: CIFAR-10 and CIFAR-100, Fashion-MNIST, STL-10, and digits.

The first four are official archives, which torchvision downloads and verifies. Tiny ImageNet has a
file of its own. Constants for normalisation are those of the papers' code.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.data.base import Arrays, Facts
from bench.data.download import read_or_download
from bench.data.subset import rank

MAX_FILE_BYTES = 32 * 1024**2  # of a compressed file; the official files are smaller
DIGITS_TESTED = 90  # images of each digit for testing, by the fixed order of `rank`; about half


@dataclass(frozen=True)
class Cifar:
    """60,000 colour photographs of 32 x 32 pixels (Krizhevsky 2009).

    torchvision compares the MD5 of every pickle with the official one before it loads the pickle.
    """

    facts: Facts
    archive: str
    dataset: str  # the class in torchvision.datasets

    def read(self, root: Path) -> Arrays:
        """Read all images and fine labels, in the official order."""
        from torchvision import datasets

        dataset = getattr(datasets, self.dataset)
        train, test = read_or_download(
            self.facts.name,
            self.archive,
            root,
            lambda download: [dataset(root, train=t, download=download) for t in (True, False)],
        )
        return Arrays(*_cifar_tensors(train), *_cifar_tensors(test))


def _cifar_tensors(split: Any) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split.data).permute(0, 3, 1, 2), torch.tensor(split.targets)


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
    dataset="CIFAR10",
)

CIFAR100 = Cifar(
    Facts(
        name="cifar100",
        classes=100,
        size=32,
        train=50_000,
        test=10_000,
        mean=(0.5071, 0.4867, 0.4408),  # as in RepDistiller
        std=(0.2675, 0.2565, 0.2761),
        fingerprint="md5:eb9058c3a382ffc7106e4002c42a8d85",
    ),
    archive="cifar-100-python.tar.gz (unpacked: cifar-100-python/)",
    dataset="CIFAR100",
)


class FashionMnist:
    """70,000 grey pictures of clothes, 28 x 28 pixels (Xiao et al. 2017).

    Four compressed files under FashionMNIST/raw; each is unpacked only if its MD5 is official.
    """

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
        """Read all images, one channel, in the official order."""
        from torchvision.datasets import FashionMNIST

        folder, mirror = root / "FashionMNIST" / "raw", FashionMNIST.mirrors[0]
        train, train_labels, test, test_labels = read_or_download(
            self.facts.name,
            self.archive,
            root,
            lambda download: [
                _parse_idx(_read_verified(folder / name, md5, mirror if download else None))
                for name, md5 in FashionMNIST.resources
            ],
        )
        return Arrays(train[:, None], train_labels.long(), test[:, None], test_labels.long())


def _read_verified(path: Path, md5: str, mirror: str | None) -> bytes:
    """Return the content of a file, after a download if there is a mirror.

    torchvision's own reader does not verify unpacked files. Raises ValueError for another MD5.
    """
    from torchvision.datasets.utils import download_url

    if mirror is not None:
        download_url(f"{mirror}{path.name}", path.parent, md5=md5)
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES)
    if hashlib.md5(content).hexdigest() != md5:
        raise ValueError(f"{path.name} is not the official file")
    return content


def _parse_idx(content: bytes) -> Tensor:
    """Return the bytes of a compressed idx file, in the shape in its header."""
    data = bytearray(gzip.decompress(content))
    dimensions = data[3]
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, 4 + 4 * dimensions, 4)]
    return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape)


class Stl10:
    """The labelled part of STL-10: 13,000 photographs of 96 x 96 pixels (Coates et al. 2011).

    torchvision verifies the binary files. CRD's transfer task (Table 4) uses `size: 32`.
    """

    facts = Facts(
        name="stl10",
        classes=10,
        size=96,
        train=5_000,
        test=8_000,
        mean=(0.4467, 0.4398, 0.4066),  # as in DCD's transfer_student.py
        std=(0.2603, 0.2566, 0.2712),
        fingerprint="md5:91f7769df0f17e558f3565bffb0c7dfb",
    )
    archive = "stl10_binary.tar.gz (unpacked: stl10_binary/)"

    def read(self, root: Path) -> Arrays:
        """Read all labelled images, in the official order; no unlabelled file is needed."""
        from torchvision.datasets import STL10

        class Labelled(STL10):  # type: ignore[misc]
            train_list = STL10.train_list[:2]

        splits = read_or_download(
            self.facts.name,
            self.archive,
            root,
            lambda download: [
                Labelled(root, split, download=download) for split in ("train", "test")
            ],
        )
        tensors = [(torch.from_numpy(s.data), torch.from_numpy(s.labels).long()) for s in splits]
        return Arrays(*tensors[0], *tensors[1])


class Digits:
    """1,797 handwritten digits of 8 x 8 pixels, which scikit-learn ships; no download.

    E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI 1998, its test part.
    About half of the images of each digit are for testing, always the same ones.
    """

    facts = Facts(
        name="digits",
        classes=10,
        size=8,
        train=897,
        test=900,
        mean=(0.3054, 0.3054, 0.3054),
        std=(0.3764, 0.3764, 0.3764),
        fingerprint="sha256:fd077db7636e0bd16fb159b030f3b86b4cf2d9fb65b5e5f99e0bc990235bed27",
        fewest=(84, 90),
    )

    def read(self, root: Path) -> Arrays:
        """Read all images, one channel, with intensities 0..16 scaled to 0..255; ignores `root`."""
        from sklearn.datasets import load_digits

        bundle = load_digits()
        images = torch.from_numpy(bundle.images * (255 / 16)).round().to(torch.uint8)[:, None]
        labels = torch.from_numpy(bundle.target).long()
        test = rank(labels) < DIGITS_TESTED
        return Arrays(images[~test], labels[~test], images[test], labels[test])
