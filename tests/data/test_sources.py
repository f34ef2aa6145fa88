"""The names of data sets, and errors for missing, damaged or wrong data."""

import pickle
import socket
import time
import urllib.request

import pytest
import torch

from bench import data
from bench.data import Selection, archive
from bench.data.builtin import CIFAR10, CIFAR100, FashionMnist, Stl10, TinyImageNet
from bench.errors import BenchError, MissingData

from .toys import CPU, Toy

OFFICIAL = (CIFAR10, CIFAR100, FashionMnist(), Stl10(), TinyImageNet())


@pytest.fixture
def no_network(monkeypatch):
    """Make every download fail at once."""
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


def test_names_of_builtin_data_sets():
    assert data.names() == [
        "cifar10",
        "cifar100",
        "digits",
        "fashion_mnist",
        "imagenet",
        "stl10",
        "tiny_imagenet",
    ]
    for name in data.names():
        facts = data.facts(Selection(name), None)
        assert facts.name == name
        assert facts.train > facts.classes > 1


def test_unknown_name_raises_with_the_allowed_names():
    with pytest.raises(
        BenchError, match=r"no data set 'cifar1000'\. Did you mean 'cifar100'\? All"
    ):
        data.facts(Selection("cifar1000"), None)
    with pytest.raises(BenchError, match="folder:/path/to/images, imagenet, stl10"):
        data.load(Selection("imagenet21k"), None, CPU)


def test_constants_are_those_of_the_papers():
    assert CIFAR100.facts.mean == (0.5071, 0.4867, 0.4408)
    assert CIFAR100.facts.std == (0.2675, 0.2565, 0.2761)
    assert Stl10.facts.mean == (0.4467, 0.4398, 0.4066)
    assert TinyImageNet.facts.std == (0.2770, 0.2691, 0.2821)


@pytest.mark.parametrize("source", OFFICIAL, ids=lambda source: source.facts.name)
def test_missing_archive_raises_with_its_name_and_folder(source, tmp_path, no_network, capfd):
    import torchvision.datasets  # noqa: F401 (slow, and not what is timed)

    root, start = tmp_path / "nothing" / "here", time.monotonic()
    with pytest.raises(MissingData) as raised:
        data.load(Selection(source.facts.name), root, CPU)
    message = str(raised.value)
    assert message.startswith(
        f"{source.facts.name}: no intact {source.archive} was found in {root}, and "
    )
    assert message.endswith("with --data-root or BENCH_DATA")
    assert "\n" not in message
    assert time.monotonic() - start < 10
    assert capfd.readouterr() == ("", "")
    assert not root.exists()


def test_silent_network_times_out(tmp_path, no_network, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(archive, "NETWORK_TIMEOUT_S", 0.1)
        with pytest.raises(MissingData, match="downloading failed .*timed out"):
            data.load(Selection("cifar10"), tmp_path, CPU)
    assert socket.getdefaulttimeout() is None


def test_default_root_is_the_folder_data_or_bench_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    with pytest.raises(MissingData, match=f"found in {tmp_path}/data, and bench does not down"):
        data.load(Selection("tiny_imagenet"), None, CPU)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(MissingData, match=f"found in {tmp_path}/elsewhere, and"):
        data.load(Selection("tiny_imagenet"), None, CPU)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def test_unofficial_pickle_is_never_loaded(tmp_path, no_network):
    top = tmp_path / "cifar-100-python"
    top.mkdir()
    for name in ("train", "test", "meta"):
        (top / name).write_bytes(pickle.dumps(Malicious(tmp_path / "executed")))
    with pytest.raises(MissingData, match="no intact cifar-100-python.tar.gz"):
        data.load(Selection("cifar100"), tmp_path, CPU)
    assert not (tmp_path / "executed").exists()


def test_real_cifar100_is_read(cifar100_root):
    facts, arrays = data.facts(Selection("cifar100"), cifar100_root), CIFAR100.read(cifar100_root)
    assert arrays.train.shape == (facts.train, 3, 32, 32)
    assert torch.bincount(arrays.train_labels).tolist() == [500] * 100
    assert torch.bincount(arrays.test_labels).tolist() == [100] * 100
    mean = (arrays.train[::10].float() / 255).mean((0, 2, 3))
    assert torch.allclose(mean, torch.tensor(facts.mean), atol=0.01)
    assert arrays.train_labels[:4].tolist() == [19, 29, 0, 11]  # cattle, dinosaur, apple, boy


def test_part_of_real_cifar100_is_loaded(cifar100_root):
    part = data.load(Selection("cifar100", per_class=5, validation=1000), cifar100_root, CPU)
    assert (part.facts.train, len(part.train_labels)) == (500, 500)
    images = torch.cat([images for images, _ in part.evaluation("validation", 500)])
    assert images.shape == (1000, 3, 32, 32)
    assert images.mean().abs() < 0.1
    assert (images.std() - 1).abs() < 0.1


def test_plugin_data_set_is_loaded():
    selection = Selection("toy", per_class=2)
    part = data.load(selection, None, CPU, added={"toy": Toy()})
    assert torch.bincount(part.train_labels).tolist() == [2, 2, 2]
    with pytest.raises(BenchError, match="no data set 'toy'"):
        data.load(selection, None, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 22}, r"train images are torch.uint8 \(21, 3, 6, 6\), not .* \(22, 3, 6, 6\)"),
        ({"classes": 2, "fewest": (7, 3)}, "train labels are 0 to 2, not 0 to 1"),
        ({"fewest": (6, 3)}, "the rarest class has 7 train images, not 6"),
        ({"fewest": (7, 2)}, "the rarest class has 3 test images, not 2"),
    ],
)
def test_source_that_differs_from_its_facts_raises(changes, message):
    added = {"toy": Toy(**changes)}
    with pytest.raises(BenchError, match=f"toy: the data differ from `facts`: .*{message}"):
        data.load(Selection("toy"), None, CPU, added=added)


def test_only_folders_can_be_streamed():
    with pytest.raises(BenchError, match="digits: only folder:PATH and imagenet can be streamed"):
        data.load(Selection("digits"), None, CPU, stream=True)
