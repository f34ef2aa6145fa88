import gzip
import hashlib
import subprocess
import sys

import pytest
import torch

from bench import data
from bench.data import Augment, Selection
from bench.data.builtin import Digits
from bench.errors import MissingData
from tests.command import ROOT

from .toys import CPU


def test_digits_have_a_fixed_split(tmp_path):
    arrays, facts = Digits().read(tmp_path), Digits.facts
    digest = hashlib.sha256()
    for array in (arrays.train, arrays.train_labels, arrays.test, arrays.test_labels):
        digest.update(array.numpy().tobytes())
    assert facts.fingerprint == f"sha256:{digest.hexdigest()}"
    assert (len(arrays.train), len(arrays.test)) == (facts.train, facts.test) == (897, 900)
    assert torch.bincount(arrays.test_labels).tolist() == [90] * 10
    assert (arrays.train.max(), arrays.train.min()) == (255, 0)


def test_digits_constants_are_mean_and_std_of_training_images(tmp_path):
    pixels = Digits().read(tmp_path).train.double() / 255
    assert Digits.facts.mean == (round(pixels.mean().item(), 4),) * 3
    assert Digits.facts.std == (round(pixels.std(correction=0).item(), 4),) * 3


def test_digits_equal_the_images_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    arrays = Digits().read(tmp_path)
    images = torch.cat([arrays.train, arrays.test]).flatten(1)
    reference = torch.from_numpy(load_digits().data)
    assert sorted((images / 255 * 16).round().int().tolist()) == sorted(reference.int().tolist())


def test_digits_are_read_without_importing_scikit_learn():
    code = (
        "import sys, pathlib; from bench.data.builtin import Digits; "
        "Digits().read(pathlib.Path()); assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_missing_or_damaged_file_of_digits_gives_a_message(tmp_path, monkeypatch):
    package = tmp_path / "sklearn"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with pytest.raises(MissingData, match=r"digits: no installed sklearn has .*pip install"):
        Digits().read(tmp_path)
    file = package / "datasets" / "data" / "digits.csv.gz"
    file.parent.mkdir(parents=True)
    for content in (b"text", gzip.compress(b"1,2,3"), gzip.compress(b"\xff")):
        file.write_bytes(content)
        with pytest.raises(MissingData, match=r"digits: .*digits\.csv\.gz is damaged"):
            Digits().read(tmp_path)


def test_part_of_digits_is_ready_for_training():
    selection = Selection("digits", per_class=20, test_per_class=30, validation=50, size=16)
    part = data.load(selection, None, CPU)
    assert part.facts == data.facts(selection, None)
    assert torch.bincount(part.train_labels).tolist() == [20] * 10
    images, batch = next(part.epoch(0, 1, 64, Augment(crop=2, flip=False)))
    assert images.shape == (64, 3, 16, 16)
    assert torch.equal(batch.labels, part.train_labels[batch.index])
    for split, count in (("train", 200), ("validation", 50), ("test", 300)):
        labels = torch.cat([labels for _, labels in part.evaluation(split, 128)])
        assert torch.bincount(labels).tolist() == [count // 10] * 10
