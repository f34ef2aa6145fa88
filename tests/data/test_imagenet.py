"""ImageNet's official layout: checked names and counts, and torchvision's views of its images."""

import random
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import data
from bench.data import Augment, Selection, Streamed
from bench.data.imagenet import ImageNet, ValidationView, official_classes
from bench.data.images import RandomView, decode, draw_box, pixels
from bench.errors import MissingData
from bench.seeding import derive
from tests.conftest import PACK

from .toys import CPU, image_folder

WNIDS = ["n00000001", "n00000002", "n00000010"]
TRAIN, VAL = {name: 4 - i for i, name in enumerate(WNIDS)}, dict.fromkeys(WNIDS, 2)


@pytest.fixture
def source() -> ImageNet:
    facts = replace(ImageNet.facts, classes=3, train=9, test=6, fewest=(2, 2))
    return ImageNet(facts, lambda: WNIDS)


def refusal(source: ImageNet, root: Path) -> str:
    with pytest.raises(MissingData) as error:
        source.files(root, 8)
    message = str(error.value)
    assert "from torchvision.datasets import ImageNet" in message
    assert str(root / "imagenet") in message
    return message


def test_classes_are_1000_in_the_order_of_torchvisions_weights() -> None:
    from torchvision.models import ResNet34_Weights

    names, words = official_classes(), ResNet34_Weights.IMAGENET1K_V1.meta["categories"]
    assert names == sorted(set(names))
    assert len(names) == len(words) == data.facts(Selection("imagenet")).classes
    known = {"n01440764": "tench", "n02102040": "English springer", "n03394916": "French horn"}
    assert {name: words[names.index(name)] for name in known} == known


def test_facts_need_no_images(tmp_path: Path) -> None:
    facts = data.facts(Selection("imagenet", per_class=100, size=64), tmp_path)
    assert (facts.train, facts.test, facts.size) == (100_000, 50_000, 64)


def test_official_folders_are_streamed_in_the_order_of_classes(
    source: ImageNet, tmp_path: Path
) -> None:
    image_folder(tmp_path / "imagenet", {"train": TRAIN, "val": VAL}, size=12)
    (tmp_path / "imagenet" / "meta.bin").write_bytes(b"torchvision's")
    added = {"imagenet": source}
    images = data.load(Selection("imagenet", size=8), tmp_path, CPU, workers=0, added=added)
    assert isinstance(images, Streamed)
    assert images.train_labels.tolist() == [0] * 4 + [1] * 3 + [2] * 2
    ((batch, epoch),) = images.epoch(0, 1, 10, Augment(crop=0, resized=True))
    assert batch.shape == (9, 3, 8, 8)
    assert torch.equal(epoch.labels, images.train_labels[epoch.index])
    ((batch, labels),) = images.evaluation("test", 10)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    picture = Image.open(tmp_path / "imagenet/val/n00000002/1.png")
    expected = images.normalize(ValidationView(8)(picture, 0)[None])
    assert torch.equal(batch[3:4], expected)


def test_a_missing_folder_names_the_command_that_unpacks_the_archives(
    source: ImageNet, tmp_path: Path
) -> None:
    assert f"imagenet: no folder {tmp_path}/imagenet/train\n" in refusal(source, tmp_path)
    message = source.absent(tmp_path)
    assert message
    assert message.startswith(f"no folder {tmp_path}/imagenet. To prepare the folder, put ILS")
    (tmp_path / "imagenet").mkdir()
    assert source.absent(tmp_path) is None


def test_a_flat_val_is_refused(source: ImageNet, tmp_path: Path) -> None:
    top = image_folder(tmp_path / "imagenet", {"train": TRAIN})
    (top / "val").mkdir()
    for number in range(6):
        (top / f"val/ILSVRC2012_val_0000000{number}.JPEG").touch()
    assert f"{top}/val has no class folders, but 6 images. Allowed: a" in refusal(source, tmp_path)


def test_wrong_names_of_classes_are_listed_with_the_nearest(
    source: ImageNet, tmp_path: Path
) -> None:
    wrong = {"n00000001": 4, "n0000002": 3}
    top = image_folder(tmp_path / "imagenet", {"train": wrong, "val": VAL})
    message = refusal(source, tmp_path)
    assert f"{top}/train has 2 class folders. Allowed: 3\n" in message
    assert f"{top}/train/n0000002 is not a class of ILSVRC 2012. Did you mean 'n0000" in message
    assert f"{top}/train has no folder n00000002, n00000010\n" in message


@pytest.mark.parametrize(
    ("train", "val", "problem"),
    [
        ({**TRAIN, WNIDS[0]: 3}, VAL, "train has 8 images. Allowed: 9"),
        (TRAIN, {**VAL, WNIDS[1]: 3}, "val has 7 images. Allowed: 6"),
        (TRAIN, dict(zip(WNIDS, (1, 2, 3), strict=True)), "classes with other numbers of images"),
    ],
)
def test_wrong_counts_are_refused(
    train: dict[str, int], val: dict[str, int], problem: str, source: ImageNet, tmp_path: Path
) -> None:
    image_folder(tmp_path / "imagenet", {"train": train, "val": val})
    assert problem in refusal(source, tmp_path)


def test_a_test_folder_does_not_replace_val(source: ImageNet, tmp_path: Path) -> None:
    image_folder(tmp_path / "imagenet", {"train": TRAIN, "val": VAL, "test": VAL})
    assert "imagenet/test has class folders. Allowed: none" in refusal(source, tmp_path)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Photographs of 224 x 224 pixels, all but one resized to the shapes of other photographs."""
    archive = PACK / "imagenette_100.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    with tarfile.open(archive) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith(".JPEG"))[::100]
        files = [tar.extractfile(name) for name in names]
        originals = [decode(file.read(), 224) for file in files if file]
    shapes = [(500, 375), (375, 500), (333, 501), (1024, 683), (256, 300), (900, 240), (224, 224)]
    return [picture.resize(shapes[i % 7]) for i, picture in enumerate(originals)]


def test_the_validation_view_is_torchvisions(pictures: list[Image.Image]) -> None:
    from torchvision.transforms import CenterCrop, Compose, Resize

    official = Compose([Resize(256), CenterCrop(224)])
    sizes = [(w, h) for w in (256, 257, 333, 500) for h in (224, 256, 375, 501)]
    resized = [pictures[0].resize(size) for size in sizes]
    for picture in [*pictures, *resized]:
        assert torch.equal(ValidationView(224)(picture, 0), pixels(official(picture)))


def test_the_training_view_is_that_of_torchvision_for_tensors(pictures: list[Image.Image]) -> None:
    from torchvision.transforms.v2.functional import hflip, resized_crop

    flipped = 0
    for index, picture in enumerate(pictures):
        rng = random.Random(derive(0, "augment", 1, index))
        left, top, right, bottom = draw_box(*picture.size, rng)
        image = pixels(picture).permute(2, 0, 1)
        part = resized_crop(image, top, left, bottom - top, right - left, [224, 224])
        mirrored = rng.random() < 0.5
        flipped += mirrored
        view = RandomView(224, Augment(crop=0, resized=True), seed=0, epoch=1)(picture, index)
        expected = hflip(part) if mirrored else part
        assert torch.equal(view, expected.permute(1, 2, 0))
    assert 0 < flipped < len(pictures)


def test_parts_have_the_distribution_of_torchvisions(pictures: list[Image.Image]) -> None:
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    rng, picture = random.Random(0), pictures[0]
    theirs = [
        RandomResizedCrop.get_params(picture, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)
    ]
    ours = [draw_box(*picture.size, rng) for _ in range(4000)]
    for own, other in (
        ([right - left for left, _, right, _ in ours], [width for _, _, _, width in theirs]),
        ([bottom - top for _, top, _, bottom in ours], [height for _, _, height, _ in theirs]),
        ([left for left, _, _, _ in ours], [left for _, left, _, _ in theirs]),
        ([top for _, top, _, _ in ours], [top for top, _, _, _ in theirs]),
    ):
        quantiles = np.linspace(0.1, 0.9, 9)
        difference = np.quantile(own, quantiles) - np.quantile(other, quantiles)
        assert np.abs(difference).max() < 0.03 * max(picture.size)
