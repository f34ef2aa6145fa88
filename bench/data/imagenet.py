"""ImageNet (ILSVRC 2012): the official images, with one folder of each class per split.

The images are always streamed from disk. For evaluation, they are resized and cropped as for
torchvision's weights (`ValidationView`); for other folders, `bench.data.images.CentreView` is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.text import count
from bench.data.base import IMAGENET_CHANNELS, PREFIX, Arrays, Facts, Selection
from bench.data.folder import TEST, TRAIN, Folder, class_folders
from bench.data.images import BILINEAR, MARGIN, Picture, pixels, printable
from bench.errors import MissingData, nearest
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "imagenet"  # in the data root; torchvision's `ImageNet` writes the same folders
VALIDATION = "val"
ARCHIVES = "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz"
MAX_LISTED = 5  # class folders that an error message names


def official_classes() -> list[str]:
    """Return the WordNet ids of the 1,000 classes in the order of torchvision's weights."""
    from timm.data.imagenet_info import ImageNetInfo

    names: list[str] = ImageNetInfo("imagenet-1k").label_names()  # type: ignore[no-untyped-call]
    return names


@dataclass(frozen=True)
class ImageNet:
    """1,331,167 photographs of 1,000 classes (Russakovsky et al. 2015, arXiv:1409.0575).

    The 50,000 validation images are the test set here, because the official test images have no
    labels. Classes are numbered in the alphabetical order of their WordNet ids, as in torchvision.
    The fingerprint contains the MD5 of the two official archives. Folders and images are counted,
    but the images are not compared with the archives.

    Attributes:
        facts: the data set's facts; the counts are those of the official archives.
        classes: function that returns the names of the class folders in alphabetical order.

    """

    facts: Facts = Facts(
        name="imagenet",
        classes=1000,
        size=224,
        train=1_281_167,
        test=50_000,
        mean=IMAGENET_CHANNELS[0],
        std=IMAGENET_CHANNELS[1],
        fingerprint="md5:1d675b47d978889d74fa0da5fadfb00e+29b22e2961454d5413ddabcf34fc5622",
        fewest=(732, 50),
    )
    classes: Callable[[], Sequence[str]] = official_classes

    def files(self, root: Path, size: int) -> Folder:
        """Return the images' files as a folder of images, after comparing them with the facts.

        Args:
            root: the data root.
            size: side of the cropped images in pixels.

        Raises:
            MissingData: there are too few or too many class folders or images; the message lists
                all differences, and the command that unpacks the official archives.
            BenchError: a class has no images, or a folder cannot be read.

        """
        folder = Folder.from_selection(Selection(f"{PREFIX}{FOLDER}", size=size), root)
        classes = list(self.classes())
        problems = [
            *_class_problems(folder.path / TRAIN[0], classes),
            *_class_problems(folder.path / VALIDATION, classes),
        ]
        if class_folders(folder.path / TEST[0]):  # `folder.test` would read it, not val
            problems.append(f"imagenet: {folder.path / TEST[0]} has class folders. Allowed: none")
        if not problems:
            facts, train, test = self.facts, folder.train.labels, folder.test.labels
            problems = [
                *_count_problems(folder.path / TRAIN[0], train, facts.train, 0),
                *_count_problems(folder.path / VALIDATION, test, facts.test, facts.rarest[1]),
            ]
        if problems:
            raise MissingData("\n".join([*problems, _fix(folder.path)]))
        return folder

    def absent(self, root: Path) -> str | None:
        """Return how to get the images if their folder does not exist; None if it exists."""
        top = root / FOLDER
        return None if top.is_dir() else f"no folder {printable(top.resolve())}. {_fix(top)}"

    def read(self, root: Path) -> Arrays:
        """Decode all images; for small selections only, because all images are in memory."""
        return self.files(root, self.facts.size).read(root)


def _class_problems(top: Path, classes: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the class folders of one split."""
    shown = printable(top)
    if not top.is_dir():
        yield f"imagenet: no folder {shown}"
        return
    folders = class_folders(top)
    if not folders:
        flat = count(sum(path.suffix == ".JPEG" for path in top.iterdir()), "image")
        yield f"imagenet: {shown} has no class folders, but {flat}. Allowed: a folder per class"
        return
    if len(folders) != len(classes):
        number = count(len(folders), "class folder")
        yield f"imagenet: {shown} has {number}. Allowed: {len(classes):,}"
    others = sorted(set(folders) - set(classes))
    for name in others[:MAX_LISTED]:
        hint = nearest(name, classes)
        yield f"imagenet: {shown}/{printable(name)} is not a class of ILSVRC 2012.{hint}"
    missing = sorted(set(classes) - set(folders))
    if missing and len(missing) < len(classes):
        more = f" and {len(missing) - MAX_LISTED} more" if len(missing) > MAX_LISTED else ""
        yield f"imagenet: {shown} has no folder {', '.join(missing[:MAX_LISTED])}{more}"


def _count_problems(top: Path, labels: Tensor, expected: int, each: int) -> Iterator[str]:
    """Yield a message for a wrong number of images; `each`: images per class, 0 if unknown."""
    if len(labels) != expected:
        yield f"imagenet: {printable(top)} has {len(labels):,} images. Allowed: {expected:,}"
    elif each and int(torch.bincount(labels).min()) != each:
        allowed = f"Allowed: {each} each"
        yield f"imagenet: {printable(top)} has classes with other numbers of images. {allowed}"


def _fix(top: Path) -> str:
    """Return how to unpack the official archives into a folder."""
    path = printable(top.resolve())
    return (
        f"To prepare the folder, put {ARCHIVES} (image-net.org) into {path}, remove its "
        "folders train and val if they are incomplete or have no class folders, and run: "
        'python -c "from torchvision.datasets import '
        f"ImageNet; [ImageNet('{path}', split) for split in ('train', 'val')]\""
    )


@dataclass(frozen=True)
class ValidationView:
    """The transform with which torchvision's ImageNet weights were evaluated.

    The shorter side is resized to 256/224 of the size, bilinear; then the centre is cropped.
    Lengths are rounded as torchvision rounds them, unlike in `bench.data.images.CentreView`.
    """

    size: int

    def __call__(self, picture: Picture, index: int) -> Tensor:
        """Return the central size x size pixels; `index` is ignored."""
        side, shorter = round(self.size * MARGIN), min(picture.size)
        if shorter != side:
            width, height = (int(side * length / shorter) for length in picture.size)
            picture = picture.resize((width, height), BILINEAR)
        left = round((picture.width - self.size) / 2)
        top = round((picture.height - self.size) / 2)
        return pixels(picture.crop((left, top, left + self.size, top + self.size)))
