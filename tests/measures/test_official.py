"""The files of CIFAR-100-C, in their format."""

import numpy as np
import pytest
import torch

from bench.errors import BenchError, MissingData
from bench.measures import official

LABELS = torch.tensor([3, 1, 4])


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "CIFAR-100-C"
    folder.mkdir()
    np.save(folder / "labels.npy", np.tile(LABELS.numpy(), 5).astype(np.uint8))
    levels = np.arange(15, dtype=np.uint8)[:, None, None, None]
    np.save(folder / "fog.npy", np.broadcast_to(levels, (15, 32, 32, 3)))
    return tmp_path


def test_a_severity_is_a_fifth_of_a_file(root):
    images = official.pictures(root, "fog", 2, LABELS)
    assert images.shape == (3, 32, 32, 3)
    assert images[:, 0, 0, 0].tolist() == [3, 4, 5]


def test_a_missing_file_is_named(root):
    with pytest.raises(MissingData, match=r"CIFAR-100-C/snow.npy is missing\. Unpack"):
        official.pictures(root, "snow", 1, LABELS)


def test_other_labels_and_shapes_are_refused(root):
    with pytest.raises(BenchError, match="does not hold the labels of CIFAR-100's test images"):
        official.pictures(root, "fog", 1, LABELS + 1)
    np.save(root / "CIFAR-100-C/frost.npy", np.zeros((15, 8, 8, 3), np.uint8))
    with pytest.raises(BenchError, match=r"frost.npy is uint8 \(15, 8, 8, 3\)"):
        official.pictures(root, "frost", 1, LABELS)


def test_pickles_are_not_loaded(root):
    with (root / "CIFAR-100-C/snow.npy").open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BenchError, match="not a file of arrays"):
        official.pictures(root, "snow", 1, LABELS)
