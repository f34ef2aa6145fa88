"""Every official data set: its facts, its reading from small archives of the same layout."""

import gzip
import hashlib
import pickle
import socket
import struct
import time
import urllib.request
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import data
from bench.data import Augment, Selection, _official
from bench.data.cifar import CIFAR10, CIFAR100
from bench.data.digits import Digits
from bench.data.fashion_mnist import FashionMnist
from bench.data.stl10 import Stl10
from bench.data.tiny_imagenet import FACTS, TinyImageNet
from bench.errors import BenchError, MissingData

from .toys import CPU, Toy, noise, write

OFFICIAL = (CIFAR10, CIFAR100, FashionMnist(), Stl10(), TinyImageNet())


@pytest.fixture
def no_network(monkeypatch):
    """Whatever asks for a page is told at once that nobody is there."""
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_names():
    assert data.names() == [
        "cifar10",
        "cifar100",
        "digits",
        "fashion_mnist",
        "stl10",
        "tiny_imagenet",
    ]
    for name in data.names():
        known = data.facts(Selection(name), None)
        assert known.name == name
        assert known.train > known.classes > 1


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        BenchError, match=r"no data set 'cifar1000'\. Did you mean 'cifar100'\? All"
    ):
        data.facts(Selection("cifar1000"), None)
    with pytest.raises(BenchError, match="folder:/path/to/images, stl10"):
        data.load(Selection("imagenet"), None, CPU)


def test_constants_of_the_papers():
    assert CIFAR100.facts.mean == (0.5071, 0.4867, 0.4408)
    assert CIFAR100.facts.std == (0.2675, 0.2565, 0.2761)
    assert Stl10.facts.mean == (0.4467, 0.4398, 0.4066)
    assert FACTS.std == (0.2770, 0.2691, 0.2821)


@pytest.mark.parametrize("source", OFFICIAL, ids=lambda source: source.facts.name)
def test_absent_archives_are_named_with_the_folder(source, tmp_path, no_network, capfd):
    import torchvision.datasets  # noqa: F401 (slow, and not what is timed)

    root, start = tmp_path / "nothing" / "here", time.monotonic()
    with pytest.raises(MissingData) as raised:
        data.load(Selection(source.facts.name), root, CPU)
    said = str(raised.value)
    archive = getattr(source, "archive", "tiny-imagenet-200.zip (unpacked: tiny-imagenet-200/)")
    assert said.startswith(f"{source.facts.name}: no intact {archive} was found in {root}, and ")
    assert said.endswith("with --data-root or BENCH_DATA")
    assert "\n" not in said
    assert time.monotonic() - start < 10
    assert capfd.readouterr() == ("", "")
    assert not root.exists()


def test_a_network_that_never_answers_is_given_up(tmp_path, no_network, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(_official, "SILENCE", 0.1)
        with pytest.raises(MissingData, match="downloading failed .*timed out"):
            data.load(Selection("cifar10"), tmp_path, CPU)
    assert socket.getdefaulttimeout() is None


def test_the_default_root_is_data_here_or_bench_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    with pytest.raises(MissingData, match=f"found in {tmp_path}/data, and it is not down"):
        data.load(Selection("tiny_imagenet"), None, CPU)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(MissingData, match=f"found in {tmp_path}/elsewhere, and"):
        data.load(Selection("tiny_imagenet"), None, CPU)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def test_a_pickle_that_is_not_the_official_one_is_never_loaded(tmp_path, no_network):
    top = tmp_path / "cifar-100-python"
    top.mkdir()
    for name in ("train", "test", "meta"):
        (top / name).write_bytes(pickle.dumps(Malicious(tmp_path / "executed")))
    with pytest.raises(MissingData, match="no intact cifar-100-python.tar.gz"):
        data.load(Selection("cifar100"), tmp_path, CPU)
    assert not (tmp_path / "executed").exists()


def test_cifar_layout(tmp_path, monkeypatch):
    from torchvision import datasets

    top, images = tmp_path / "cifar-10-batches-py", noise(3, 3, 32, 32)
    top.mkdir()
    listed = []
    for name, place in (("data_batch_1", 0), ("data_batch_2", 1), ("test_batch", 2)):
        flat = images[place : place + 1].flatten(1).numpy()
        (top / name).write_bytes(pickle.dumps({"data": flat, "labels": [place + 4]}))
        listed.append([name, md5(top / name)])
    (top / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a"]}))
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(top / "batches.meta")}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", listed[:2])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", listed[2:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    whole = CIFAR10.read(tmp_path)
    assert torch.equal(whole.train, images[:2])
    assert torch.equal(whole.test, images[2:])
    assert (whole.train_labels.tolist(), whole.test_labels.tolist()) == ([4, 5], [6])
    with pytest.raises(BenchError, match=r"cifar10: what was read .* \(2, 3, 32, 32\), not "):
        data.load(Selection("cifar10"), tmp_path, CPU)


def test_fashion_mnist_layout_from_compressed_files(tmp_path, monkeypatch):
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
    whole = FashionMnist().read(tmp_path)
    assert torch.equal(whole.train, images[:3, None])
    assert torch.equal(whole.test, images[3:, None])
    assert (whole.train_labels.tolist(), whole.test_labels.tolist()) == ([7, 8, 9], [7, 8])


def test_stl10_layout_without_its_unlabelled_file(tmp_path, monkeypatch):
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
    whole = Stl10().read(tmp_path)
    assert torch.equal(whole.train, images[:2])
    assert torch.equal(whole.test, images[2:])
    assert (whole.train_labels.tolist(), whole.test_labels.tolist()) == ([9, 0], [4])


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
    return TinyImageNet(replace(FACTS, classes=2, train=3, test=2, fewest=(1, 1)))


def check_tiny(whole):
    assert whole.train.shape == (3, 3, 64, 64)
    levels = whole.train.float().mean((1, 2, 3)).round()
    assert levels.tolist() == [100, 30, 200]
    assert whole.train_labels.tolist() == [0, 0, 1]
    assert whole.test.float().mean((1, 2, 3)).round().tolist() == [220, 120]
    assert whole.test_labels.tolist() == [1, 0]


def test_tiny_imagenet_unpacked(tiny, tmp_path):
    check_tiny(tiny.read(tmp_path))
    (tmp_path / "tiny-imagenet-200" / "wnids.txt").unlink()
    with pytest.raises(MissingData, match=r"a part of it is not there .*wnids\.txt"):
        tiny.read(tmp_path)


def test_tiny_imagenet_packed_is_read_only_if_it_is_the_official_one(tiny, tmp_path):
    root = tmp_path / "other"
    root.mkdir()
    archive = root / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((tmp_path / "tiny-imagenet-200").rglob("*")):
            packed.write(path, path.relative_to(tmp_path))
    with pytest.raises(MissingData, match="no intact tiny-imagenet-200.zip"):
        tiny.read(root)
    check_tiny(TinyImageNet(replace(tiny.facts, fingerprint=f"md5:{md5(archive)}")).read(root))


def test_digits_are_split_once_and_for_all(tmp_path):
    whole, known = Digits().read(tmp_path), Digits.facts
    digest = hashlib.sha256()
    for part in (whole.train, whole.train_labels, whole.test, whole.test_labels):
        digest.update(part.numpy().tobytes())
    assert known.fingerprint == f"sha256:{digest.hexdigest()}"
    assert (len(whole.train), len(whole.test)) == (known.train, known.test) == (897, 900)
    assert torch.bincount(whole.test_labels).tolist() == [90] * 10
    assert (whole.train.max(), whole.train.min()) == (255, 0)


def test_digits_constants_are_those_of_the_training_images(tmp_path):
    pixels = Digits().read(tmp_path).train.double() / 255
    assert Digits.facts.mean == (round(pixels.mean().item(), 4),) * 3
    assert Digits.facts.std == (round(pixels.std(correction=0).item(), 4),) * 3


def test_digits_are_the_images_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    whole = Digits().read(tmp_path)
    ours = torch.cat([whole.train, whole.test]).flatten(1)
    theirs = torch.from_numpy(load_digits().data)
    assert sorted((ours / 255 * 16).round().int().tolist()) == sorted(theirs.int().tolist())


def test_a_part_of_digits_is_ready_to_train_on():
    asked = Selection("digits", per_class=20, test_per_class=30, validation=50, size=16)
    part = data.load(asked, None, CPU)
    assert part.facts == data.facts(asked, None)
    assert torch.bincount(part.train_labels).tolist() == [20] * 10
    images, batch = next(part.epoch(0, 1, 64, Augment(crop=2, flip=False)))
    assert images.shape == (64, 3, 16, 16)
    assert torch.equal(batch.labels, part.train_labels[batch.index])
    for split, count in (("train", 200), ("validation", 50), ("test", 300)):
        labels = torch.cat([some for _, some in part.evaluation(split, 128)])
        assert torch.bincount(labels).tolist() == [count // 10] * 10


def test_the_real_cifar100(cifar100_root):
    known, whole = data.facts(Selection("cifar100"), cifar100_root), CIFAR100.read(cifar100_root)
    assert whole.train.shape == (known.train, 3, 32, 32)
    assert torch.bincount(whole.train_labels).tolist() == [500] * 100
    assert torch.bincount(whole.test_labels).tolist() == [100] * 100
    about = (whole.train[::10].float() / 255).mean((0, 2, 3))
    assert torch.allclose(about, torch.tensor(known.mean), atol=0.01)
    assert whole.train_labels[:4].tolist() == [19, 29, 0, 11]  # cattle, dinosaur, apple, boy


def test_a_part_of_the_real_cifar100(cifar100_root):
    part = data.load(Selection("cifar100", per_class=5, validation=1000), cifar100_root, CPU)
    assert (part.facts.train, len(part.train_labels)) == (500, 500)
    images = torch.cat([some for some, _ in part.evaluation("validation", 500)])
    assert images.shape == (1000, 3, 32, 32)
    assert images.mean().abs() < 0.1
    assert (images.std() - 1).abs() < 0.1


def test_a_user_s_own_data_set(monkeypatch):
    monkeypatch.setattr(data, "_sources", dict(data._sources))
    toy = Toy()
    data.register("toy", toy)
    data.register("toy", toy)
    assert "toy" in data.names()
    part = data.load(Selection("toy", per_class=2), None, CPU)
    assert torch.bincount(part.train_labels).tolist() == [2, 2, 2]
    with pytest.raises(BenchError, match="a data set 'toy' exists already"):
        data.register("toy", Toy())
    with pytest.raises(BenchError, match="a data set 'cifar100' exists already"):
        data.register("cifar100", toy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": 22}, r"train images are torch.uint8 \(21, 3, 6, 6\), not .* \(22, 3, 6, 6\)"),
        ({"classes": 2, "fewest": (7, 3)}, "train labels are 0 to 2, not 0 to 1"),
        ({"fewest": (6, 3)}, "the rarest class has 7 train images, not 6"),
        ({"fewest": (7, 2)}, "the rarest class has 3 test images, not 2"),
    ],
)
def test_a_source_that_does_not_keep_its_promise(monkeypatch, changes, said):
    monkeypatch.setattr(data, "_sources", {"toy": Toy(**changes)})
    with pytest.raises(BenchError, match=f"toy: what was read is not as promised: .*{said}"):
        data.load(Selection("toy"), None, CPU)


def test_only_folders_stream():
    with pytest.raises(BenchError, match="digits: only folder:PATH can be streamed"):
        data.load(Selection("digits"), None, CPU, stream=True)
