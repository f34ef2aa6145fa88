"""Which data sets there are, and what is said where one is absent, damaged or wrong."""

import pickle
import socket
import time
import urllib.request

import pytest
import torch

from bench import data
from bench.data import Selection, _official
from bench.data.cifar import CIFAR10, CIFAR100
from bench.data.fashion_mnist import FashionMnist
from bench.data.stl10 import Stl10
from bench.data.tiny_imagenet import FACTS, TinyImageNet
from bench.errors import BenchError, MissingData

from .toys import CPU, Toy

OFFICIAL = (CIFAR10, CIFAR100, FashionMnist(), Stl10(), TinyImageNet())


@pytest.fixture
def no_network(monkeypatch):
    """Whatever asks for a page is told at once that nobody is there."""
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


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


def test_a_plugins_data_set_is_loaded():
    selection = Selection("toy", per_class=2)
    part = data.load(selection, None, CPU, added={"toy": Toy()})
    assert torch.bincount(part.train_labels).tolist() == [2, 2, 2]
    with pytest.raises(BenchError, match="no data set 'toy'"):
        data.load(selection, None, CPU)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": 22}, r"train images are torch.uint8 \(21, 3, 6, 6\), not .* \(22, 3, 6, 6\)"),
        ({"classes": 2, "fewest": (7, 3)}, "train labels are 0 to 2, not 0 to 1"),
        ({"fewest": (6, 3)}, "the rarest class has 7 train images, not 6"),
        ({"fewest": (7, 2)}, "the rarest class has 3 test images, not 2"),
    ],
)
def test_a_source_that_does_not_keep_its_promise(changes, said):
    added = {"toy": Toy(**changes)}
    with pytest.raises(BenchError, match=f"toy: what was read is not as promised: .*{said}"):
        data.load(Selection("toy"), None, CPU, added=added)


def test_only_folders_stream():
    with pytest.raises(BenchError, match="digits: only folder:PATH can be streamed"):
        data.load(Selection("digits"), None, CPU, stream=True)
