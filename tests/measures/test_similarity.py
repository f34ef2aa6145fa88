"""CKA, agreement and accuracies of classes, by hand."""

import math

import pytest
import torch

from bench import models
from bench.data import Selection, load
from bench.measures import accuracy, similarity
from bench.measures.readout import read
from bench.spec import Recipe

CPU = torch.device("cpu")


def test_cka_of_features_with_themselves_is_1_also_rotated_scaled_and_shifted():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, generator=rng)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=rng))
    assert similarity.linear_cka(x, x) == pytest.approx(1)
    assert similarity.linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1)
    assert similarity.linear_cka(x, -x) == pytest.approx(1)


def test_cka_by_hand():
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert similarity.linear_cka(x, y) == 0  # uncorrelated
    both = torch.cat([x, y], 1)
    # ‖[4, 0]‖² / (4 · ‖4 I‖) = 16 / (4 · 4 √2)
    assert similarity.linear_cka(x, both) == pytest.approx(1 / math.sqrt(2))
    assert math.isnan(similarity.linear_cka(x, torch.ones(4, 2)))


@pytest.fixture(scope="module")
def digits():
    return load(Selection("digits", per_class=5, test_per_class=20, size=32), None, CPU)


def test_cka_of_a_network_with_itself_is_1_and_does_not_depend_on_the_batch_size(digits):
    net, other = models.build("resnet8", 10), models.build("resnet8", 10)
    readouts = [read(net, digits, "test", Recipe(), size) for size in (200, 7)]
    same = similarity.stage_similarities(readouts[0].features, readouts[1].features)
    assert same.keys() == {"cka", "cka.stage1", "cka.stage2", "cka.stage3"}
    assert all(value == pytest.approx(1, abs=1e-6) for value in same.values())
    theirs = read(other, digits, "test", Recipe()).features
    large, small = (similarity.stage_similarities(r.features, theirs)["cka"] for r in readouts)
    assert large == pytest.approx(small, abs=1e-6)
    assert 0 < large < 0.999


def test_networks_with_other_numbers_of_stages_have_only_the_pooled_cka(digits):
    features = read(models.build("resnet8", 10), digits, "test", Recipe()).features
    fewer = {name: x for name, x in features.items() if name != "stage3"}
    assert similarity.stage_similarities(features, fewer).keys() == {"cka"}


def test_accuracies_of_classes_by_hand():
    predicted, labels = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 0])
    assert accuracy.top1(predicted, labels) == 60
    assert accuracy.per_class(predicted, labels, 3) == [50, pytest.approx(200 / 3), None]
    assert accuracy.balanced(predicted, labels, 3) == pytest.approx((50 + 200 / 3) / 2)


def test_the_teachers_class_is_among_the_students_first_five():
    student = torch.tensor([[6.0, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]])
    teacher = torch.eye(6)[[0, 4, 0]]
    assert accuracy.teacher_in_top5(student, teacher) == pytest.approx(200 / 3)
    assert accuracy.agreement(student, teacher) == pytest.approx(100 / 3)
    assert accuracy.teacher_in_top5(student[:, :3], teacher[:, :3]) == 100


def test_halves_divide_each_class():
    labels = torch.tensor([0] * 10 + [1] * 5)
    first, second = accuracy.halves(labels)
    assert torch.equal(first, ~second)
    assert labels[first].bincount().tolist() == [5, 3]
