import pytest
import torch

from bench.data import Selection
from bench.data.subset import rank, select, selected_facts
from bench.errors import BenchError

from .toys import facts

FACTS = facts(classes=5, train=100, test=35)
TRAIN = torch.arange(100) % 5
TEST = torch.arange(35) % 5


def selected(**options):
    return select(Selection("toy", **options), 5, TRAIN, TEST)


def test_ranks_are_a_fixed_order_of_each_class():
    ranks = rank(TRAIN)
    for label in range(5):
        assert sorted(ranks[label == TRAIN].tolist()) == list(range(20))
    assert ranks[:10].tolist() == [11, 8, 0, 8, 4, 10, 4, 2, 6, 17]  # never to change


def test_all_images_are_selected_by_default():
    indices = selected()
    assert indices["train"].tolist() == list(range(100))
    assert "validation" not in indices
    assert indices["test"].tolist() == list(range(35))


def test_subsets_are_balanced_ascending_and_nested():
    small, large = selected(per_class=3, test_per_class=2), selected(per_class=11)
    assert torch.bincount(TRAIN[small["train"]]).tolist() == [3] * 5
    assert torch.bincount(TEST[small["test"]]).tolist() == [2] * 5
    assert small["train"].tolist() == sorted(small["train"].tolist())
    assert set(small["train"].tolist()) < set(large["train"].tolist())
    assert set(range(100)) != set(large["train"].tolist()) != set(range(55))


def test_validation_is_balanced_disjoint_and_equal_for_all_subsets():
    full, small = selected(validation=20), selected(per_class=16, validation=20)
    assert torch.bincount(TRAIN[full["validation"]]).tolist() == [4] * 5
    assert full["validation"].tolist() == small["validation"].tolist()
    assert sorted([*full["train"].tolist(), *full["validation"].tolist()]) == list(range(100))
    assert set(small["train"].tolist()).isdisjoint(small["validation"].tolist())


def test_classes_may_differ_in_size():
    labels = torch.tensor([0] * 10 + [1] * 4)
    indices = select(Selection("toy", per_class=2, validation=4), 2, labels, labels)
    assert torch.bincount(labels[indices["train"]]).tolist() == [2, 2]
    assert torch.bincount(labels[indices["validation"]]).tolist() == [2, 2]
    assert set(indices["train"].tolist()).isdisjoint(indices["validation"].tolist())


def test_held_out_images_replace_the_test_images():
    complete, part = selected(validation=10), selected(validation=10, held_out=20)
    assert torch.equal(part["validation"], complete["validation"])
    assert torch.bincount(TRAIN[part["test"]]).tolist() == [4] * 5
    splits = [set(indices.tolist()) for indices in part.values()]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 100
    fewer = selected(validation=10, held_out=20, per_class=3, test_per_class=None)
    assert torch.equal(fewer["test"], part["test"])
    assert torch.equal(fewer["train"], selected(per_class=3)["train"])
    facts = selected_facts(Selection("toy", validation=10, held_out=20), FACTS)
    assert (facts.train, facts.test, facts.rarest) == (70, 20, (14, 4))


def test_facts_count_the_selected_part():
    part = selected_facts(
        Selection("toy", per_class=4, test_per_class=3, validation=10, size=12), FACTS
    )
    assert (part.train, part.test, part.size, part.rarest) == (20, 15, 12, (4, 3))
    rest = selected_facts(Selection("toy", validation=10), FACTS)
    assert (rest.train, rest.test, rest.size, rest.rarest) == (90, 35, 6, (18, 7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 21}, "per_class 21 is not possible; allowed: 1 to 20"),
        ({"per_class": 0}, "per_class 0 is not possible; allowed: 1 to 20"),
        ({"per_class": 17, "validation": 20}, "allowed: 1 to 16, .* with a validation split"),
        ({"test_per_class": 8}, "test_per_class 8 is not possible; allowed: 1 to 7"),
        ({"validation": 7}, "validation 7 .* multiples of 5 from 0 to 95"),
        ({"validation": 100}, "validation 100 .* multiples of 5 from 0 to 95"),
        ({"validation": -5}, "validation -5 .* multiples of 5 from 0 to 95"),
        ({"held_out": 7}, "held_out 7 .* multiples of 5 from 0 to 95"),
        ({"held_out": 90, "validation": 20}, "held_out 90 .* multiples of 5 from 0 to 75"),
        ({"per_class": 17, "held_out": 20}, "allowed: 1 to 16, .* with held-out images of 20"),
        ({"size": 0}, "size 0 is not a number of pixels; allowed: 1 or more"),
        ({"per_class": 21, "test_per_class": 9}, "per_class 21 .*; test_per_class 9 "),
    ],
)
def test_impossible_selection_raises_with_what_is_allowed(options, message):
    with pytest.raises(BenchError, match=f"^toy: .*{message}"):
        selected_facts(Selection("toy", **options), FACTS)


def test_largest_allowed_selection_is_possible():
    largest = Selection("toy", per_class=16, test_per_class=7, validation=20)
    assert selected_facts(largest, FACTS).train == 80
    assert selected_facts(Selection("toy", validation=95), FACTS).train == 5
