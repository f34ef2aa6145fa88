"""Probes that SGD trains, and what they leave unchanged."""

import pytest
import torch

from bench import models, seeding
from bench.data import Augment, Selection, load
from bench.measures import sgd
from bench.measures.sgd import Training
from bench.spec import Recipe

CPU = torch.device("cpu")
SHORT = Recipe(epochs=2, batch_size=25, lr=0.1, milestones=(), crop=0, flip=False, weight_decay=0)


@pytest.fixture(scope="module")
def digits():
    return load(Selection("digits", per_class=10, test_per_class=10), None, CPU)


@pytest.fixture(scope="module")
def net():
    with seeding.initialised_by(0):
        return models.build("resnet8", 7)


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize(
    "training",
    [Training(SHORT), Training(SHORT, drifting=True), Training(SHORT, layers=True)],
    ids=["frozen", "drifting", "finetune"],
)
def test_a_probe_leaves_every_tensor_of_the_network_bit_for_bit(net, digits, training):
    before = state(net)
    sgd.train(net, digits, training, 0)
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert before.keys() == after.keys()
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_the_frozen_copy_is_frozen_too_and_a_drifting_one_is_not(net, digits, monkeypatch):
    copies = []

    class Kept(sgd.Probed):
        def __init__(self, net, *args, **options):
            super().__init__(net, *args, **options)
            copies.append(net)

    monkeypatch.setattr(sgd, "Probed", Kept)
    sgd.train(net, digits, Training(SHORT), 0)
    sgd.train(net, digits, Training(SHORT, drifting=True), 0)
    frozen, drifted = (copied.state_dict() for copied in copies)
    before = net.state_dict()
    assert all(torch.equal(before[name], frozen[name]) for name in before)
    changed = {name for name in before if not torch.equal(before[name], drifted[name])}
    assert changed == {name for name in before if "running" in name or "num_batches" in name}


def test_a_probe_gives_the_same_numbers_again_and_learns(net, digits):
    longer = SHORT.model_copy(update={"epochs": 15})
    first, second = (sgd.train(net, digits, Training(longer), 3) for _ in range(2))
    assert len(first) == 15
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    labels = torch.cat([labels for _, labels in digits.evaluation("test", 50)])
    assert (first[-1] == labels).double().mean() > 0.4


def test_another_seed_gives_another_classifier(net, digits):
    first, second = (sgd.train(net, digits, Training(SHORT), seed)[0] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_the_normalisation_can_be_replaced(digits):
    changed = digits.normalised((0.5,) * 3, (0.25,) * 3)
    images, labels = next(changed.evaluation("test", 10))
    pictures, same = next(digits.pictures("test", 10))
    assert torch.equal(labels, same)
    expected = (pictures.float() / 255 - 0.5) / 0.25
    assert torch.allclose(images.permute(0, 2, 3, 1), expected, atol=1e-6)
    batches = [next(iter(d.epoch(0, 1, 10, Augment(0, False))))[0] for d in (digits, changed)]
    mean, std = digits.facts.mean[0], digits.facts.std[0]
    assert torch.allclose((batches[0] * std + mean - 0.5) / 0.25, batches[1], atol=1e-5)
