"""The gate does not cry wolf: honest reruns with other seeds, trained on real digits.

The promise: with a probability of 95 % no cell of an unchanged suite is called a regression. Here
63 seeds of three methods are trained once, and cut into baselines and reruns of 3 seeds each. The
students are stopped early, where noise is large: a standard deviation of about 6 points. Nothing
but noise is there, so every alarm is false. A tolerance of 0 is the strictest case: whatever
alarms at a larger one alarms at 0.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import pytest
from scipy import stats

from bench import gate, tables
from bench.gate import Verdicts
from bench.report.cells import Entry
from tests import toy

SEEDS, GROUP = 63, 3
SUITE = {
    "dataset": "{name: digits, per_class: 16, test_per_class: 30}",
    "recipe": "{epochs: 3, batch_size: 16, lr: 0.02, milestones: [2], crop: 1, flip: false}",
    "teachers": "{recipe: {epochs: 8, lr: 0.05, milestones: [6]}}",
    "seeds": f"0-{SEEDS - 1}",
    "methods": "[student, kd, fitnet]",
}

Seeds = Sequence[int]
Split = tuple[Seeds, Seeds]  # of a baseline, and of its rerun
Runs = dict[int, list[Entry]]

GROUPS = [range(first, first + GROUP) for first in range(0, SEEDS, GROUP)]
TWENTY = [(GROUPS[0], group) for group in GROUPS[1:]]
EACH = [(one, other) for one in GROUPS for other in GROUPS if one != other]


def regrouped(count: int) -> Iterator[Split]:
    """Baselines and reruns drawn from all seeds at random, always the same."""
    draw = random.Random(0)
    for _ in range(count):
        found = draw.sample(range(SEEDS), 2 * GROUP)
        yield found[:GROUP], found[GROUP:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The entries of every seed."""
    folder = tmp_path_factory.mktemp("honest")
    whole = toy.plan(folder, **SUITE)
    found = defaultdict(list)
    for entry in tables.entries(whole, toy.run(whole, folder)):
        found[entry.seed].append(entry)
    return found


def checks(runs: Runs, splits: Iterable[Split], metric: str, tolerance: float) -> list[Verdicts]:
    """The verdicts on each rerun beside its baseline."""

    def chosen(seeds: Seeds) -> list[Entry]:
        return [entry for seed in seeds for entry in runs[seed]]

    return [
        gate.check(chosen(now), gate.baseline(chosen(before), "toy"), metric, tolerance)
        for before, now in splits
    ]


def alarms(found: Iterable[Verdicts]) -> int:
    return sum(one.exit_code() == 1 for one in found)


def most(trials: int, rate: float = 0.05) -> int:
    """How many alarms 99.9 % of all trials have at most, if the promise just holds."""
    return int(stats.binom.ppf(0.999, trials, rate))


@pytest.mark.parametrize(("metric", "tolerance"), [("top1", 0.0), ("top1", 0.5), ("nll", 0.0)])
def test_twenty_honest_reruns(runs: Runs, metric: str, tolerance: float) -> None:
    found = checks(runs, TWENTY, metric, tolerance)
    assert len(found) == 20
    assert alarms(found) <= most(20) == 5


@pytest.mark.parametrize("metric", ["top1", "nll"])
def test_whichever_group_is_the_baseline(runs: Runs, metric: str) -> None:
    """All 420 ordered pairs of groups. They share runs: a bad group is in 40 of them.

    Of 2,000 simulations with normal noise 4.1 % of the pairs alarm on average, and in 999 of 1,000
    simulations at most 12.6 %: that is 8.5 points above what is expected, hence 5 + 8.5 %.
    """
    found = checks(runs, EACH, metric, 0.0)
    assert alarms(found) <= 0.135 * len(found)
    assert len(found) == 420


@pytest.mark.parametrize("metric", ["top1", "nll"])
def test_any_three_seeds_beside_any_other_three(runs: Runs, metric: str) -> None:
    """Drawn at random, pairs of groups are almost independent: the sharper test.

    In 1,000 simulations of 63 seeds with normal noise, the share of alarms among 1,000 such draws
    has a standard deviation of 0.66 points; of independent draws it would have 0.63.
    """
    found = checks(runs, regrouped(400), metric, 0.0)
    assert alarms(found) <= most(400)


def test_a_gate_that_compares_means_would_alarm_most_of_the_time(runs: Runs) -> None:
    """The noise is real: beyond the tolerance of 0.5 points, in most of the reruns."""
    found = checks(runs, EACH, "top1", 0.5)
    lost = [any((cell.change or 0.0) < -0.5 for cell in one.cells) for one in found]
    assert sum(lost) > 0.7 * len(found)
