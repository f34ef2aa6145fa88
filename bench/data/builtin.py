"""Built-in data sets: CIFAR-10, CIFAR-100, Fashion-MNIST, STL-10, (Tiny) ImageNet and digits.

scikit-learn contains the digits. All other data sets are official archives. Missing archives are
downloaded and verified, except Tiny ImageNet and ImageNet, which the user must download.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.archive import Archive
from bench.data.base import Arrays, Facts, Source, Split
from bench.data.digits import read_digits
from bench.data.imagenet import ImageNet
from bench.data.images import decode_all
from bench.data.subset import rank
from bench.errors import BenchError
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

MAX_COMPRESSED_BYTES = 32 * 1024**2  # limit for a file; the official files are smaller
MAX_CIFAR_BYTES = 160 * 1024**2  # limit for a file of CIFAR; the largest has 155 MB
MAX_FILE_BYTES = 16 * 1024**2  # limit for an unpacked file; the official files are smaller
INCOMPLETE = (OSError, KeyError, IndexError, ValueError, RuntimeError, zipfile.BadZipFile)
TINY_IMAGENET = "tiny-imagenet-200"  # name of the folder in the archive
NOT_DOWNLOADED = "bench does not download it: see http://cs231n.stanford.edu/tiny-imagenet-200.zip"
DIGITS_TESTED = 90  # test images of each digit, about half of all; `rank` chooses them

# Classes, side in pixels, training images, test images, mean and standard deviation per channel.
# Means and deviations of CIFAR-100 are from RepDistiller (the code of CRD's authors). Means and
# deviations of STL-10 and Tiny ImageNet are from transfer_student.py of DCD's authors.
Channels = tuple[float, float, float]
NUMBERS: dict[str, tuple[int, int, int, int, Channels, Channels]] = {
    "cifar10": (10, 32, 50_000, 10_000, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": (100, 32, 50_000, 10_000, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "fashion_mnist": (10, 28, 60_000, 10_000, (0.2860, 0.2860, 0.2860), (0.3530, 0.3530, 0.3530)),
    "stl10": (10, 96, 5_000, 8_000, (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2712)),
    "tiny_imagenet": (200, 64, 100_000, 10_000, (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)),
    "digits": (10, 8, 897, 900, (0.3054, 0.3054, 0.3054), (0.3764, 0.3764, 0.3764)),
}


def _facts(
    name: str,
    fingerprint: str,
    fewest: tuple[int, int] | None = None,
    class_counts: tuple[int, ...] | None = None,
) -> Facts:
    return Facts(name, *NUMBERS[name], fingerprint, fewest, class_counts)


@dataclass(frozen=True)
class Cifar(Archive):
    """60,000 colour photographs of 32 x 32 pixels (Krizhevsky 2009).

    torchvision only downloads the archive: importing torchvision takes longer than reading it.

    Attributes:
        dataset: The class in torchvision.datasets.
        train: The official MD5 of each pickle file of training images, by the file's name.
        test: The same for the test images.
    """

    facts: Facts
    archive: str
    unpacked: str
    dataset: str
    train: Mapping[str, str]
    test: Mapping[str, str]

    def arrays(self, root: Path, *, download: bool) -> Arrays:
        """Read all images and labels; CIFAR-100's labels are its 100 fine classes."""
        if download:
            from torchvision import datasets

            getattr(datasets, self.dataset)(root, download=True)
        return Arrays(*self._split(root, self.train), *self._split(root, self.test))

    def _split(self, root: Path, files: Mapping[str, str]) -> tuple[Tensor, Tensor]:
        folder, limit = root / self.unpacked, MAX_CIFAR_BYTES
        parts: list[Any] = [  # a pickle can run code: only official files are loaded
            pickle.loads(_read_verified(folder / name, md5, limit), encoding="latin1")
            for name, md5 in files.items()
        ]
        images = [torch.from_numpy(part["data"]).view(-1, 3, 32, 32) for part in parts]
        labels = [part["fine_labels" if "fine_labels" in part else "labels"] for part in parts]
        return torch.cat(images), torch.cat([torch.tensor(each) for each in labels])


CIFAR10 = Cifar(
    _facts("cifar10", "md5:c58f30108f718f92721af3b95e74349a"),
    archive="cifar-10-python.tar.gz (unpacked: cifar-10-batches-py/)",
    unpacked="cifar-10-batches-py",
    dataset="CIFAR10",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
)

CIFAR100 = Cifar(
    _facts("cifar100", "md5:eb9058c3a382ffc7106e4002c42a8d85"),
    archive="cifar-100-python.tar.gz (unpacked: cifar-100-python/)",
    unpacked="cifar-100-python",
    dataset="CIFAR100",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
)


class FashionMnist(Archive):
    """70,000 grey pictures of clothes, 28 x 28 pixels (Xiao et al. 2017).

    The folder FashionMNIST/raw has four compressed files. A file is unpacked only if its MD5 is the
    official one.
    """

    facts = _facts(
        "fashion_mnist",
        "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d+25c81989df183df01b3e8a0aad5dffbe"
        "+bef4ecab320f06d8554ea6380940ec79+bb300cfdad3c16e7a12a480ee83cd310",
    )
    archive = "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"
    unpacked = "FashionMNIST/raw"

    def arrays(self, root: Path, *, download: bool) -> Arrays:
        """Read all images, (N, 1, 28, 28), and their labels."""
        from torchvision.datasets import FashionMNIST
        from torchvision.datasets.utils import download_url

        folder = root / "FashionMNIST" / "raw"
        for name, md5 in FashionMNIST.resources if download else ():
            download_url(f"{FashionMNIST.mirrors[0]}{name}", folder, md5=md5)
        train, train_labels, test, test_labels = (
            _parse_idx(_read_verified(folder / name, md5, MAX_COMPRESSED_BYTES))
            for name, md5 in FashionMNIST.resources
        )
        return Arrays(train[:, None], train_labels.long(), test[:, None], test_labels.long())


def _read_verified(path: Path, md5: str, max_bytes: int) -> bytes:
    """Return the content of an official file, of at most `max_bytes`.

    torchvision's own reader is not used because it does not verify unpacked files. Raises
    ValueError if the MD5 of the content is not `md5`.
    """
    if not path.is_file():  # a pipe would block
        raise ValueError(f"{path.name} is missing")
    with path.open("rb") as file:
        content = file.read(max_bytes)
    if hashlib.md5(content).hexdigest() != md5:
        raise ValueError(f"{path.name} is not the official file")
    return content


def _parse_idx(content: bytes) -> Tensor:
    """Return the uint8 tensor in a gzipped IDX file, MNIST's format; its header has the shape."""
    data = bytearray(gzip.decompress(content))
    dimensions = data[3]
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, 4 + 4 * dimensions, 4)]
    return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape)


class Stl10(Archive):
    """STL-10: 13,000 labelled and 100,000 other photographs, 96 x 96 (Coates et al. 2011).

    torchvision verifies the binary files. CRD's transfer experiment (table 4) uses `size: 32`.
    """

    facts = replace(_facts("stl10", "md5:91f7769df0f17e558f3565bffb0c7dfb"), unlabelled=100_000)
    archive = "stl10_binary.tar.gz (unpacked: stl10_binary/)"
    unpacked = "stl10_binary"

    def arrays(self, root: Path, *, download: bool) -> Arrays:
        """Read all labelled images; the file of unlabelled images may be missing."""
        from torchvision.datasets import STL10

        class Labelled(STL10):  # type: ignore[misc]
            train_list = STL10.train_list[:2]

        splits = [Labelled(root, split, download=download) for split in ("train", "test")]
        (train, train_labels), (test, test_labels) = (
            (torch.from_numpy(split.data), torch.from_numpy(split.labels).long())
            for split in splits
        )
        unlabelled = partial(self._read_unlabelled, root, download)
        return Arrays(train, train_labels, test, test_labels, unlabelled)

    def _read_unlabelled(self, root: Path, download: bool) -> Tensor:
        from torchvision.datasets import STL10

        try:
            return torch.from_numpy(STL10(root, "unlabeled", download=download).data)
        except INCOMPLETE as error:
            raise self.missing(root, "unlabeled_X.bin is missing or damaged") from error


@dataclass(frozen=True)
class TinyImageNet(Archive):
    """110,000 labelled photographs of 64 x 64 pixels, 200 classes (Stanford CS231n).

    The official archive may be packed or unpacked; it is never downloaded. Its validation images
    are the test set here, because its test images have no labels. Classes are numbered in the
    alphabetical order of their WordNet ids. The unpacked folder may hold a subset with equally many
    images of each class; its facts and captions then say so.
    """

    facts: Facts = _facts("tiny_imagenet", "md5:90528d7ca1a48142e341f4ef8d21d0de")
    archive: str = f"{TINY_IMAGENET}.zip (unpacked: {TINY_IMAGENET}/)"
    unpacked: str = TINY_IMAGENET

    def at(self, root: Path) -> Source:
        """Return the data set, or the subset in an unpacked folder that holds fewer images."""
        top, facts = root / TINY_IMAGENET, self.facts
        counts = [len(list(each.glob("images/*.JPEG"))) for each in top.glob("train/*")]
        annotations = top / "val" / "val_annotations.txt"
        lines = (
            annotations.read_text("utf-8", "replace").splitlines() if annotations.is_file() else []
        )
        train, test = facts.rarest
        tested = Counter(line.split("\t")[1] for line in lines if "\t" in line)
        equal = {*counts}, {*tested.values()}
        if len(counts) != facts.classes or len(tested) != facts.classes or max(map(len, equal)) > 1:
            return self
        [train_each], [test_each] = equal
        if not 0 < train_each <= train or (train_each, test_each) == (train, test):
            return self
        totals = train_each * facts.classes, test_each * facts.classes
        names = sorted(path.name for path in top.glob("train/*/images/*.JPEG"))
        digest = hashlib.sha256("\n".join([*names, *lines]).encode()).hexdigest()
        present = f"{totals[0]:,} of {facts.train:,} training images"
        incomplete = f"only {present} and {totals[1]:,} of {facts.test:,} test images exist here"
        return replace(
            self,
            facts=replace(
                facts, train=totals[0], test=totals[1], fewest=(train_each, test_each),
                fingerprint=f"sha256:{digest}", incomplete=incomplete,
            ),
        )  # fmt: skip

    def absent(self, root: Path) -> str | None:
        """Return how to get the images if neither folder nor archive exists, else None."""
        exists = any(path.exists() for path in self._places(root))
        return None if exists else f"no {self.archive} in {root.resolve()}; {NOT_DOWNLOADED}"

    def _places(self, root: Path) -> tuple[Path, Path]:
        return root / TINY_IMAGENET, root / f"{TINY_IMAGENET}.zip"

    def read(self, root: Path) -> Arrays:
        """Read training images by path, and test images in the order of val_annotations.txt."""
        try:
            return self.arrays(root, download=False)
        except INCOMPLETE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self.missing(root, f"a part of it is missing or damaged ({reason})") from error

    def arrays(self, root: Path, *, download: bool) -> Arrays:
        """Read the unpacked folder if it exists, otherwise the archive."""
        top, archive = self._places(root)
        if top.is_dir():
            paths = top.glob("train/*/images/*.JPEG")
            names = [path.relative_to(top).as_posix() for path in paths]
            return self._decode(top, names, partial(_read_within, top))
        if not archive.is_file() or f"md5:{_md5(archive)}" != self.facts.fingerprint:
            raise self.missing(root, NOT_DOWNLOADED)
        with zipfile.ZipFile(archive) as packed:
            names = [name.removeprefix(f"{TINY_IMAGENET}/") for name in packed.namelist()]
            inner = f"{TINY_IMAGENET}/"
            return self._decode(archive, names, lambda name: packed.read(inner + name))

    def _decode(self, top: Path, names: list[str], read: Callable[[str], bytes]) -> Arrays:
        wnids = sorted(read("wnids.txt").decode().split())
        label = {wnid: index for index, wnid in enumerate(wnids)}
        train = sorted(n for n in names if n.startswith("train/") and n.endswith(".JPEG"))
        lines = read("val/val_annotations.txt").decode().splitlines()
        test = [line.split("\t")[:2] for line in lines]
        if not (train and test):
            raise ValueError("no training images" if test else "val_annotations.txt is empty")
        train_labels = torch.tensor([label[name.split("/")[1]] for name in train])
        test_labels = torch.tensor([label[wnid] for _, wnid in test])

        def decode(names: list[str]) -> Tensor:
            paths = [f"{top}/{name}" for name in names]  # messages name them
            return decode_all(
                paths, self.facts.size, lambda path: read(path.removeprefix(f"{top}/"))
            )

        test_images = decode([f"val/images/{name}" for name, _ in test])
        self._check_complete(train_labels, wnids, "train")
        self._check_complete(test_labels, wnids, "test")
        return Arrays(decode(train), train_labels, test_images, test_labels)

    def _check_complete(self, labels: Tensor, wnids: list[str], split: Split) -> None:
        """Raise ValueError for the first class with too few images."""
        counts = labels.bincount(minlength=len(wnids))
        expected = self.facts.rarest[split == "test"]
        for wnid, count in zip(wnids, counts.tolist(), strict=True):
            if count < expected:
                raise ValueError(f"{count} of {expected} {split} images of {wnid}")
        if len(wnids) != self.facts.classes:
            raise ValueError(f"{len(wnids)} of {self.facts.classes} classes")


def _read_within(top: Path, name: str) -> bytes:
    """Return the content of the file `name` in the folder `top`.

    Raises BenchError if the file is outside the folder or has more than `MAX_FILE_BYTES` bytes.
    """
    path = (top / name).resolve()
    if not path.is_relative_to(top.resolve()):
        raise BenchError(f"{top}: '{name}' is outside this folder")
    if not path.is_file():
        raise FileNotFoundError(f"{name} is not a file")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise BenchError(f"{path} has more than {MAX_FILE_BYTES:,} bytes")
    return content


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class Digits:
    """1,797 handwritten digits of 8 x 8 pixels, which are part of scikit-learn.

    The images are the test set of: E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten
    Digits. UCI 1998. Here, the same 90 images of each digit (about half) are always the test set.
    """

    facts = _facts(
        "digits",
        "sha256:fd077db7636e0bd16fb159b030f3b86b4cf2d9fb65b5e5f99e0bc990235bed27",
        (84, 90),
        (88, 92, 87, 93, 91, 92, 91, 89, 84, 90),
    )

    def read(self, root: Path) -> Arrays:
        """Read all images, (N, 1, 8, 8), scaled from 0..16 to 0..255; `root` is ignored."""
        images, labels = read_digits()
        test = rank(labels) < DIGITS_TESTED
        return Arrays(images[~test], labels[~test], images[test], labels[test])


BUILTIN: dict[str, Source] = {
    source.facts.name: source
    for source in (CIFAR10, CIFAR100, Digits(), FashionMnist(), ImageNet(), Stl10(), TinyImageNet())
}
