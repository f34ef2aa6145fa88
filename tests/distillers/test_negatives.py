"""Negatives: of other classes, never twice, and exactly uniform."""

import pytest
import torch
from scipy import stats

from distillers import Incompatible
from distillers._bank import OtherClasses

BALANCED = torch.arange(60) % 6
UNBALANCED = torch.repeat_interleave(torch.arange(5), torch.tensor([29, 1, 11, 2, 18]))
SHUFFLED = UNBALANCED[torch.randperm(61, generator=torch.Generator().manual_seed(1))]
SETS = pytest.mark.parametrize(
    "train_labels", [BALANCED, UNBALANCED, SHUFFLED], ids=["balanced", "unbalanced", "shuffled"]
)


def sampler(train_labels, negatives, seed=0):
    return OtherClasses(train_labels, negatives, torch.Generator().manual_seed(seed))


@SETS
@pytest.mark.parametrize("all_of_them", [False, True])
def test_never_of_the_own_class_and_never_twice(train_labels, all_of_them):
    smallest_pool = len(train_labels) - int(train_labels.bincount().max())
    negatives = smallest_pool if all_of_them else 7
    others, labels = sampler(train_labels, negatives), train_labels.unique()
    for _ in range(50):
        rows = others(labels)
        assert rows.shape == (len(labels), negatives)
        assert (train_labels[rows] != labels[:, None]).all()
        assert all(len(row.unique()) == negatives for row in rows)


def uniform(counts):
    """The p-value of counts under equal chances."""
    return stats.chisquare(counts.numpy()).pvalue


@SETS
def test_every_other_sample_is_as_likely(train_labels):
    others, labels = sampler(train_labels, 5), train_labels.unique().repeat(40)
    rows = torch.cat([others(labels) for _ in range(100)]).reshape(100 * 40, -1, 5)
    for label in train_labels.unique():
        allowed = train_labels != label
        for place in range(5):  # each place of a row, not only the row as a whole
            counts = rows[:, label, place].bincount(minlength=len(train_labels))
            assert counts[~allowed].sum() == 0
            assert uniform(counts[allowed]) > 1e-4


def test_every_pair_is_as_likely():
    train_labels = torch.tensor([0, 0, 1, 2, 2, 3, 4])
    others = sampler(train_labels, 2)
    draws = torch.cat([others(torch.tensor([0])) for _ in range(6000)]).sort(1).values
    counts = (draws[:, 0] * 7 + draws[:, 1]).bincount(minlength=49)
    assert uniform(counts[counts > 0]) > 1e-3
    assert (counts > 0).sum() == 10  # pairs of the five others


def test_rows_of_one_draw_have_little_in_common():
    train_labels = torch.arange(1000) % 10
    rows = sampler(train_labels, 300)(torch.zeros(40, dtype=torch.long))
    members = torch.zeros(40, 1000).scatter_(1, rows, 1.0)
    shared = (members @ members.T)[~torch.eye(40, dtype=torch.bool)]
    assert shared.mean().item() == pytest.approx(300 * 300 / 900, rel=0.05)
    assert shared.std() < 40  # of 300; independent rows have 8


def test_each_draw_is_another_and_the_stream_can_be_resumed():
    others = sampler(BALANCED, 20)
    labels = torch.tensor([3])
    first = others(labels)
    kept = others.rng.get_state()
    second = others(labels)
    assert not torch.equal(first, second)
    others.rng.set_state(kept)
    assert torch.equal(others(labels), second)


def test_drawing_for_evaluation_does_not_move_the_stream():
    others, labels = sampler(BALANCED, 20), torch.tensor([3])
    shown = others.eval()(labels)
    assert torch.equal(others(labels), shown)
    assert torch.equal(others.train()(labels), shown)


def test_more_negatives_than_there_are():
    with pytest.raises(Incompatible, match="33 negatives .* only 32 of other classes"):
        sampler(UNBALANCED, 33)


def test_a_set_of_one_class_has_no_negatives():
    with pytest.raises(Incompatible, match="only 0 of other classes"):
        sampler(torch.zeros(9, dtype=torch.long), 1)
