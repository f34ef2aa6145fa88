"""Incomplete data sets and pipes in their place end with one sentence that names the folder."""

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench import data
from bench.data import Selection
from bench.data.builtin import TinyImageNet
from bench.errors import BenchError

CPU = torch.device("cpu")


def tiny(root: Path) -> Path:
    """Two classes with two training images each, and two test images."""
    top = root / "tiny-imagenet-200"
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG")
    for wnid in ("n01", "n02"):
        (top / f"train/{wnid}/images").mkdir(parents=True)
        for number in range(2):
            (top / f"train/{wnid}/images/{wnid}_{number}.JPEG").write_bytes(buffer.getvalue())
    (top / "val/images").mkdir(parents=True)
    for number in range(2):
        (top / f"val/images/val_{number}.JPEG").write_bytes(buffer.getvalue())
    lines = "val_0.JPEG\tn01\t0\t0\t1\t1\nval_1.JPEG\tn02\t0\t0\t1\t1\n"
    (top / "val/val_annotations.txt").write_text(lines)
    (top / "wnids.txt").write_text("n02\nn01\n")
    return top


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no training image": lambda top: [empty(top / f"train/{w}/images") for w in ("n01", "n02")],
    "empty annotations": lambda top: (top / "val/val_annotations.txt").write_text(""),
    "annotations without classes": lambda top: (top / "val/val_annotations.txt").write_text("a\n"),
    "annotations of an unknown class": lambda top: (top / "val/val_annotations.txt").write_text(
        "val_0.JPEG\tn99\n"
    ),
    "annotations that are not text": lambda top: (top / "val/val_annotations.txt").write_bytes(
        b"\xff\xfe\x00"
    ),
    "no annotations": lambda top: (top / "val/val_annotations.txt").unlink(),
    "no classes": lambda top: (top / "wnids.txt").unlink(),
    "a class that is not listed": lambda top: (top / "wnids.txt").write_text("n01\n"),
    "no test image": lambda top: (top / "val/images/val_0.JPEG").unlink(),
    "an image that links to itself": lambda top: loop(top / "val/images/val_0.JPEG"),
    "a training image that links to itself": lambda top: loop(top / "train/n01/images/n01_0.JPEG"),
    "a pipe as image": lambda top: pipe(top / "val/images/val_0.JPEG"),
    "a pipe as annotations": lambda top: pipe(top / "val/val_annotations.txt"),
}


def test_the_small_copy_is_complete(tmp_path: Path) -> None:
    tiny(tmp_path)
    facts = replace(TinyImageNet.facts, classes=2, train=4, test=2)
    arrays = TinyImageNet(facts).read(tmp_path)
    assert arrays.train_labels.tolist() == [0, 0, 1, 1]


@pytest.mark.case("incomplete-data-set", "pipes")
@pytest.mark.parametrize("damage", DAMAGES)
def test_an_incomplete_tiny_imagenet_is_one_sentence(damage: str, tmp_path: Path) -> None:
    DAMAGES[damage](tiny(tmp_path))
    with pytest.raises(BenchError) as error:
        TinyImageNet().read(tmp_path)
    message = str(error.value)
    assert message.startswith("tiny_imagenet: no intact tiny-imagenet-200.zip")
    assert str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.case("incomplete-data-set")
def test_a_class_without_images_is_one_sentence(tmp_path: Path) -> None:
    empty(tiny(tmp_path) / "train/n01/images")
    with pytest.raises(BenchError, match=f"{tmp_path}, .*0 of 500 train images of n01"):
        data.load(Selection("tiny_imagenet"), tmp_path, CPU)


@pytest.mark.case("incomplete-data-set", "broken-images")
def test_broken_images_of_tiny_imagenet_are_named(tmp_path: Path) -> None:
    top = tiny(tmp_path)
    paths = [top / f"val/images/val_{number}.JPEG" for number in range(2)]
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BenchError) as error:
        data.load(Selection("tiny_imagenet"), tmp_path, CPU)
    assert all(f"{path} cannot be read as an image" in str(error.value) for path in paths)


FILES = {
    "cifar10": "cifar-10-python.tar.gz",
    "cifar100": "cifar-100-python.tar.gz",
    "fashion_mnist": "FashionMNIST/raw/train-images-idx3-ubyte.gz",
    "stl10": "stl10_binary.tar.gz",
    "tiny_imagenet": "tiny-imagenet-200.zip",
}
UNPACKED = {
    "cifar10": "cifar-10-batches-py/data_batch_1",
    "cifar100": "cifar-100-python/train",
    "stl10": "stl10_binary/train_X.bin",
    "fashion_mnist": "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz",
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.case("incomplete-data-set", "pipes")
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("damage", ["pipe", "empty", "cut"])
@pytest.mark.parametrize(
    ("name", "file"), [*FILES.items(), *UNPACKED.items()], ids=lambda value: str(value)
)
def test_a_damaged_archive_is_one_sentence(
    name: str, file: str, damage: str, tmp_path: Path
) -> None:
    path = tmp_path / file
    if damage == "pipe":
        pipe(path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if damage == "empty" else b"\x1f\x8b\x08\x00 cut")
    with pytest.raises(BenchError) as error:
        data.load(Selection(name), tmp_path, CPU)
    message = str(error.value)
    assert message.startswith(f"{name}: no intact ")
    assert str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.case("pipes")
@pytest.mark.parametrize("name", sorted(FILES.keys() - {"tiny_imagenet"}))
def test_nothing_is_downloaded_into_a_pipe(name: str, tmp_path: Path) -> None:
    pipe(tmp_path / FILES[name])
    with pytest.raises(BenchError, match=r"(ubyte|tar)\.gz is not a regular file"):
        data.load(Selection(name), tmp_path, CPU)


@pytest.mark.case("pipes")
@pytest.mark.usefixtures("offline")
def test_a_pipe_as_lock_of_downloads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".downloading")
    with pytest.raises(BenchError, match=r"\.downloading: not a regular file"):
        data.load(Selection("cifar10"), tmp_path, CPU)
