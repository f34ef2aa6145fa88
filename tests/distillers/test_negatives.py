"""Negatives: from other classes, without repetition, exactly uniform."""

import pytest
import torch
from scipy import stats

from distillers import Incompatible, Setting, Shapes
from distillers._memory_bank import NegativeSampler
from distillers.crd import CRD
from distillers.wcord import WCoRD

BALANCED = torch.arange(60) % 6
UNBALANCED = torch.repeat_interleave(torch.arange(5), torch.tensor([29, 1, 11, 2, 18]))
SHUFFLED = UNBALANCED[torch.randperm(61, generator=torch.Generator().manual_seed(1))]
SETS = pytest.mark.parametrize(
    "train_labels", [BALANCED, UNBALANCED, SHUFFLED], ids=["balanced", "unbalanced", "shuffled"]
)


def sampler(train_labels, negatives, seed=0):
    return NegativeSampler(train_labels, negatives, torch.Generator().manual_seed(seed), "crd")


@SETS
@pytest.mark.parametrize("all_of_them", [False, True])
def test_negatives_are_from_other_classes_and_not_repeated(train_labels, all_of_them):
    smallest_pool = len(train_labels) - int(train_labels.bincount().max())
    negatives = smallest_pool if all_of_them else 7
    draw, labels = sampler(train_labels, negatives), train_labels.unique()
    for _ in range(50):
        rows = draw(labels)
        assert rows.shape == (len(labels), negatives)
        assert (train_labels[rows] != labels[:, None]).all()
        assert all(len(row.unique()) == negatives for row in rows)


def uniform(counts):
    """The p-value of counts under equal chances."""
    return stats.chisquare(counts.numpy()).pvalue


@SETS
def test_every_sample_of_other_classes_is_equally_likely(train_labels):
    draw, labels = sampler(train_labels, 5), train_labels.unique().repeat(40)
    rows = torch.cat([draw(labels) for _ in range(100)]).reshape(100 * 40, -1, 5)
    for label in train_labels.unique():
        allowed = train_labels != label
        for place in range(5):  # each place of a row on its own
            counts = rows[:, label, place].bincount(minlength=len(train_labels))
            assert counts[~allowed].sum() == 0
            assert uniform(counts[allowed]) > 1e-4


def test_every_pair_is_equally_likely():
    train_labels = torch.tensor([0, 0, 1, 2, 2, 3, 4])
    draw = sampler(train_labels, 2)
    draws = torch.cat([draw(torch.tensor([0])) for _ in range(6000)]).sort(1).values
    counts = (draws[:, 0] * 7 + draws[:, 1]).bincount(minlength=49)
    assert uniform(counts[counts > 0]) > 1e-3
    assert (counts > 0).sum() == 10  # pairs of the five samples of other classes


def test_rows_of_one_draw_share_few_samples():
    train_labels = torch.arange(1000) % 10
    rows = sampler(train_labels, 300)(torch.zeros(40, dtype=torch.long))
    members = torch.zeros(40, 1000).scatter_(1, rows, 1.0)
    shared = (members @ members.T)[~torch.eye(40, dtype=torch.bool)]
    assert shared.mean().item() == pytest.approx(300 * 300 / 900, rel=0.05)
    assert shared.std() < 40  # of 300; independent rows have 8


def test_draws_differ_and_resume_from_the_state_of_the_stream():
    draw = sampler(BALANCED, 20)
    labels = torch.tensor([3])
    first = draw(labels)
    state = draw.rng.get_state()
    second = draw(labels)
    assert not torch.equal(first, second)
    draw.rng.set_state(state)
    assert torch.equal(draw(labels), second)


def test_draws_in_evaluation_mode_do_not_move_the_stream():
    draw, labels = sampler(BALANCED, 20), torch.tensor([3])
    first = draw.eval()(labels)
    assert torch.equal(draw(labels), first)
    assert torch.equal(draw.train()(labels), first)


def test_too_many_negatives_are_incompatible():
    with pytest.raises(Incompatible, match="found negatives 33, but only 32 training samples"):
        sampler(UNBALANCED, 33)


def test_training_set_of_one_class_is_incompatible():
    with pytest.raises(Incompatible, match=r"only 0 training samples .* at least two classes$"):
        sampler(torch.zeros(9, dtype=torch.long), 1)


@pytest.mark.parametrize("parent", [CRD, WCoRD])
def test_the_message_names_a_subclass_as_the_suite_does(parent):
    class Mine(parent):
        """A plugin's distiller."""

    shapes = Shapes(((4, 2, 2),), 4, 5)
    setting = Setting(shapes, shapes, UNBALANCED, torch.Generator())
    with pytest.raises(Incompatible, match=r"`options: {mine: {negatives: 32}}` in the suite$"):
        Mine(setting, negatives=33)
