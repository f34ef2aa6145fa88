"""Small archives in the official layouts."""

import gzip
import hashlib
import pickle
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import data
from bench.data import Selection
from bench.data.builtin import BUILTIN, CIFAR10, CIFAR100, FashionMnist, Stl10, TinyImageNet
from bench.errors import BenchError, MissingData

from .toys import CPU, noise, write


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_cifar_is_read(tmp_path, monkeypatch):
    top, images = tmp_path / "cifar-10-batches-py", noise(3, 3, 32, 32)
    top.mkdir()
    listed = {}
    for name, place in (("data_batch_1", 0), ("data_batch_2", 1), ("test_batch", 2)):
        flat = images[place : place + 1].flatten(1).numpy()
        (top / name).write_bytes(pickle.dumps({"data": flat, "labels": [place + 4]}))
        listed[name] = md5(top / name)
    test = {"test_batch": listed.pop("test_batch")}
    source = replace(CIFAR10, train=listed, test=test)
    monkeypatch.setitem(BUILTIN, "cifar10", source)
    arrays = source.read(tmp_path)
    assert torch.equal(arrays.train, images[:2])
    assert torch.equal(arrays.test, images[2:])
    assert (arrays.train_labels.tolist(), arrays.test_labels.tolist()) == ([4, 5], [6])
    with pytest.raises(BenchError, match=r"cifar10: the data differ .* \(2, 3, 32, 32\), not "):
        data.load(Selection("cifar10"), tmp_path, CPU)


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100])
def test_checksums_of_cifar_are_those_of_torchvision(source):
    from torchvision import datasets

    listed = getattr(datasets, source.dataset)
    assert list(map(list, source.train.items())) == listed.train_list
    assert list(map(list, source.test.items())) == listed.test_list


def test_fashion_mnist_is_read_from_compressed_files(tmp_path, monkeypatch):
    from torchvision.datasets import FashionMNIST

    raw, images = tmp_path / "FashionMNIST" / "raw", noise(5, 28, 28)
    raw.mkdir(parents=True)
    packed = []
    for split, place in (("train", slice(3)), ("t10k", slice(3, 5))):
        count = len(images[place])
        pixels = struct.pack(">4i", 2051, count, 28, 28) + images[place].numpy().tobytes()
        labels = struct.pack(">2i", 2049, count) + bytes(range(7, 7 + count))
        for name, content in (("images-idx3", pixels), ("labels-idx1", labels)):
            path = raw / f"{split}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(content))
            packed.append((path.name, md5(path)))
    monkeypatch.setattr(FashionMNIST, "resources", packed)
    arrays = FashionMnist().read(tmp_path)
    assert torch.equal(arrays.train, images[:3, None])
    assert torch.equal(arrays.test, images[3:, None])
    assert (arrays.train_labels.tolist(), arrays.test_labels.tolist()) == ([7, 8, 9], [7, 8])


def test_stl10_is_read_without_its_unlabelled_file(tmp_path, monkeypatch):
    from torchvision.datasets import STL10

    top, images = tmp_path / "stl10_binary", noise(3, 3, 96, 96)
    top.mkdir()
    sideways = images.transpose(2, 3).numpy()  # the file stores columns
    contents = {
        "train_X.bin": sideways[:2].tobytes(),
        "train_y.bin": bytes([10, 1]),
        "test_X.bin": sideways[2:].tobytes(),
        "test_y.bin": bytes([5]),
    }
    for name, content in contents.items():
        (top / name).write_bytes(content)
    listed = [[name, md5(top / name)] for name in contents]
    monkeypatch.setattr(STL10, "train_list", [*listed[:2], ["unlabeled_X.bin", "none"]])
    monkeypatch.setattr(STL10, "test_list", listed[2:])
    arrays = Stl10().read(tmp_path)
    assert torch.equal(arrays.train, images[:2])
    assert torch.equal(arrays.test, images[2:])
    assert (arrays.train_labels.tolist(), arrays.test_labels.tolist()) == ([9, 0], [4])


@pytest.fixture
def tiny(tmp_path):
    """Two classes, listed in the wrong order; three training images, one of them grey; two more."""
    top = tmp_path / "tiny-imagenet-200"
    flat = {"n02": 200, "n01": 100}
    for wnid, level in flat.items():
        write(top / f"train/{wnid}/images/{wnid}_0.JPEG", np.full((64, 64, 3), level, np.uint8))
    write(top / "train/n01/images/n01_1.JPEG", np.full((64, 64), 30, np.uint8))
    write(top / "val/images/val_0.JPEG", np.full((64, 64, 3), 220, np.uint8))
    write(top / "val/images/val_1.JPEG", np.full((64, 64, 3), 120, np.uint8))
    (top / "wnids.txt").write_text("n02\nn01\n")
    boxes = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    (top / "val/val_annotations.txt").write_text(boxes)
    return TinyImageNet(replace(TinyImageNet.facts, classes=2, train=3, test=2, fewest=(1, 1)))


def check_tiny(arrays):
    assert arrays.train.shape == (3, 3, 64, 64)
    levels = arrays.train.float().mean((1, 2, 3)).round()
    assert levels.tolist() == [100, 30, 200]
    assert arrays.train_labels.tolist() == [0, 0, 1]
    assert arrays.test.float().mean((1, 2, 3)).round().tolist() == [220, 120]
    assert arrays.test_labels.tolist() == [1, 0]


def test_tiny_imagenet_is_read_unpacked(tiny, tmp_path):
    check_tiny(tiny.read(tmp_path))
    (tmp_path / "tiny-imagenet-200" / "wnids.txt").unlink()
    with pytest.raises(MissingData, match=r"a part of it is missing .*wnids\.txt"):
        tiny.read(tmp_path)


def test_tiny_imagenet_archive_is_read_only_if_it_is_official(tiny, tmp_path):
    root = tmp_path / "other"
    root.mkdir()
    archive = root / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((tmp_path / "tiny-imagenet-200").rglob("*")):
            packed.write(path, path.relative_to(tmp_path))
    with pytest.raises(MissingData, match="no intact tiny-imagenet-200.zip"):
        tiny.read(root)
    check_tiny(TinyImageNet(replace(tiny.facts, fingerprint=f"md5:{md5(archive)}")).read(root))


def subset(top, train, test):
    """Write a subset of Tiny ImageNet with two of its classes."""
    folder = top / "tiny-imagenet-200"
    lines = []
    for k, wnid in enumerate(("n01", "n02")):
        for i in range(train):
            image = np.full((64, 64, 3), 50 * k + i, np.uint8)
            write(folder / f"train/{wnid}/images/{wnid}_{i}.JPEG", image)
        for i in range(test):
            write(folder / f"val/images/val_{k}{i}.JPEG", np.full((64, 64, 3), k, np.uint8))
            lines.append(f"val_{k}{i}.JPEG\t{wnid}\t0\t0\t9\t9")
    (folder / "wnids.txt").write_text("n01\nn02\n")
    (folder / "val/val_annotations.txt").write_text("\n".join(lines))


def test_a_subset_of_tiny_imagenet_says_so(tmp_path, monkeypatch):
    official = replace(TinyImageNet.facts, classes=2, train=10, test=4)
    monkeypatch.setitem(data.BUILTIN, "tiny_imagenet", TinyImageNet(official))
    subset(tmp_path, 3, 1)
    facts = data.facts(Selection("tiny_imagenet", size=16), tmp_path)
    assert (facts.train, facts.test, facts.rarest, facts.size) == (6, 2, (3, 1), 16)
    assert facts.incomplete == ("only 6 of 10 training images and 2 of 4 test images exist here")
    assert facts.fingerprint != official.fingerprint
    loaded = data.load(Selection("tiny_imagenet", size=16, per_class=2), tmp_path, CPU)
    assert loaded.facts.train == 4
    (tmp_path / "tiny-imagenet-200/train/n01/images/n01_0.JPEG").unlink()
    with pytest.raises(MissingData, match="a part of it is missing or damaged"):
        data.load(Selection("tiny_imagenet", size=16), tmp_path, CPU)


def test_all_of_tiny_imagenet_keeps_the_official_fingerprint(tmp_path, monkeypatch):
    official = replace(TinyImageNet.facts, classes=2, train=6, test=2)
    monkeypatch.setitem(data.BUILTIN, "tiny_imagenet", TinyImageNet(official))
    subset(tmp_path, 3, 1)
    assert data.facts(Selection("tiny_imagenet"), tmp_path).fingerprint == official.fingerprint
