import pytest
import torch

from bench.data import Selection
from bench.data._subset import counted, places, rank
from bench.errors import BenchError

from .toys import facts

WHOLE = facts(classes=5, train=100, test=35)
TRAIN = torch.arange(100) % 5
TEST = torch.arange(35) % 5


def parts(**asked):
    return places(Selection("toy", **asked), 5, TRAIN, TEST)


def test_ranks_count_each_class_in_a_fixed_order():
    ranks = rank(TRAIN)
    for label in range(5):
        assert sorted(ranks[label == TRAIN].tolist()) == list(range(20))
    assert ranks[:10].tolist() == [11, 8, 0, 8, 4, 10, 4, 2, 6, 17]  # never to change


def test_everything_is_chosen_by_default():
    chosen = parts()
    assert chosen.train.tolist() == list(range(100))
    assert chosen.validation.tolist() == []
    assert chosen.test.tolist() == list(range(35))


def test_subsets_are_balanced_ascending_and_nested():
    small, large = parts(per_class=3, test_per_class=2), parts(per_class=11)
    assert torch.bincount(TRAIN[small.train]).tolist() == [3] * 5
    assert torch.bincount(TEST[small.test]).tolist() == [2] * 5
    assert small.train.tolist() == sorted(small.train.tolist())
    assert set(small.train.tolist()) < set(large.train.tolist())
    assert set(range(100)) != set(large.train.tolist()) != set(range(55))


def test_validation_is_balanced_disjoint_and_the_same_beside_every_subset():
    whole, small = parts(validation=20), parts(per_class=16, validation=20)
    assert torch.bincount(TRAIN[whole.validation]).tolist() == [4] * 5
    assert whole.validation.tolist() == small.validation.tolist()
    assert sorted([*whole.train.tolist(), *whole.validation.tolist()]) == list(range(100))
    assert set(small.train.tolist()).isdisjoint(small.validation.tolist())


def test_a_class_may_have_more_than_another():
    labels = torch.tensor([0] * 10 + [1] * 4)
    chosen = places(Selection("toy", per_class=2, validation=4), 2, labels, labels)
    assert torch.bincount(labels[chosen.train]).tolist() == [2, 2]
    assert torch.bincount(labels[chosen.validation]).tolist() == [2, 2]
    assert set(chosen.train.tolist()).isdisjoint(chosen.validation.tolist())


def test_facts_count_the_selected_part():
    some = counted(Selection("toy", per_class=4, test_per_class=3, validation=10, size=12), WHOLE)
    assert (some.train, some.test, some.size, some.rarest) == (20, 15, 12, (4, 3))
    rest = counted(Selection("toy", validation=10), WHOLE)
    assert (rest.train, rest.test, rest.size, rest.rarest) == (90, 35, 6, (18, 7))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"per_class": 21}, "per_class 21 is not possible; allowed: 1 to 20"),
        ({"per_class": 0}, "per_class 0 is not possible; allowed: 1 to 20"),
        ({"per_class": 17, "validation": 20}, "allowed: 1 to 16, .* beside a validation split"),
        ({"test_per_class": 8}, "test_per_class 8 is not possible; allowed: 1 to 7"),
        ({"validation": 7}, "validation 7 .* multiples of 5 from 0 to 95"),
        ({"validation": 100}, "validation 100 .* multiples of 5 from 0 to 95"),
        ({"validation": -5}, "validation -5 .* multiples of 5 from 0 to 95"),
        ({"size": 0}, "size 0 is not a number of pixels; allowed: 1 or more"),
        ({"per_class": 21, "test_per_class": 9}, "per_class 21 .*; test_per_class 9 "),
    ],
)
def test_impossible_selections_say_what_is_allowed(asked, said):
    with pytest.raises(BenchError, match=f"^toy: .*{said}"):
        counted(Selection("toy", **asked), WHOLE)


def test_limits_are_possible():
    most = Selection("toy", per_class=16, test_per_class=7, validation=20)
    assert counted(most, WHOLE).train == 80
    assert counted(Selection("toy", validation=95), WHOLE).train == 5
