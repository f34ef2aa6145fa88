"""False alarms of the check: honest reruns with other seeds, trained on real digits.

The promise: with a probability of 95 % no cell of an unchanged suite is called a regression. Here
63 seeds of three methods are trained once and divided into baselines and reruns of 3 seeds each.
The students are stopped early, where noise is large. All differences are noise, so every alarm is
false. A tolerance of 0 is the strictest case: every alarm at a larger one is an alarm at 0.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
from scipy import stats

from bench import regression
from bench.regression import Verdicts
from bench.report import build
from bench.report.model import Entry
from bench.stats.comparison import regression_verdicts
from bench.stats.estimates import difference, moderated, pooled, samples
from tests import toy

pytestmark = pytest.mark.slow

SEEDS, GROUP = 63, 3
SUITE = {
    "dataset": "{name: digits, per_class: 16, test_per_class: 30}",
    "recipe": "{epochs: 3, batch_size: 16, lr: 0.02, milestones: [2], crop: 1, flip: false, "
    "evaluate_every: 3}",
    "teachers": "{recipe: {epochs: 8, lr: 0.05, milestones: [6]}}",
    "seeds": f"0-{SEEDS - 1}",
    "methods": "[student, kd, fitnet]",
}

Seeds = Sequence[int]
Split = tuple[Seeds, Seeds]  # of a baseline, and of its rerun
Runs = dict[int, list[Entry]]

GROUPS = [range(first, first + GROUP) for first in range(0, SEEDS, GROUP)]
TWENTY = [(GROUPS[0], group) for group in GROUPS[1:]]
EACH = [(each, other) for each in GROUPS for other in GROUPS if each != other]


def regrouped(count: int) -> Iterator[Split]:
    """Baselines and reruns drawn from all seeds at random, always the same."""
    draw = random.Random(0)
    for _ in range(count):
        result = draw.sample(range(SEEDS), 2 * GROUP)
        yield result[:GROUP], result[GROUP:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The entries of every seed."""
    folder = tmp_path_factory.mktemp("honest")
    full_plan = toy.plan(folder, **SUITE)
    result = defaultdict(list)
    for entry in build.entries(full_plan, toy.run(full_plan, folder)):
        result[entry.seed].append(entry)
    return result


def checks(runs: Runs, splits: Iterable[Split], metric: str, tolerance: float) -> list[Verdicts]:
    """The verdicts on each rerun beside its baseline."""

    def chosen(seeds: Seeds) -> list[Entry]:
        return [entry for seed in seeds for entry in runs[seed]]

    return [
        regression.check(chosen(now), regression.baseline(chosen(before), "toy"), metric, tolerance)
        for before, now in splits
    ]


def alarms(result: Iterable[Verdicts]) -> int:
    return sum(each.exit_code() == 1 for each in result)


def most(trials: int, rate: float = 0.05) -> int:
    """How many alarms 99.9 % of all trials have at most, if the promise just holds."""
    return int(stats.binom.ppf(0.999, trials, rate))


@pytest.mark.parametrize(("metric", "tolerance"), [("top1", 0.0), ("top1", 0.5), ("nll", 0.0)])
def test_twenty_honest_reruns(runs: Runs, metric: str, tolerance: float) -> None:
    result = checks(runs, TWENTY, metric, tolerance)
    assert len(result) == 20
    assert alarms(result) <= most(20) == 5


def test_alarms_are_rare_for_any_group_as_the_baseline(runs: Runs) -> None:
    """All 420 ordered pairs of groups. They share runs, so that the share of alarms scatters."""
    result = checks(runs, EACH, "top1", 0.0)
    assert len(result) == 420
    assert alarms(result) / len(result) <= 0.05 + scatter()


def scatter() -> float:
    """How far the share of alarms among `EACH` rises above its mean, at most, in 300 simulations.

    Their noise is normal, and of the same size in all cells.
    """
    draw, cells = np.random.default_rng(0), 3
    before, now = np.nonzero(~np.eye(len(GROUPS), dtype=bool))
    rates = []
    for _ in range(300):
        groups = draw.normal(size=(len(GROUPS), cells, GROUP))
        sides = samples(groups[before]), samples(groups[now])
        gain = difference(*sides, moderated(pooled(*sides)))
        rates.append((regression_verdicts(gain, 0.0).verdict == "regression").any(-1).mean())
    return float(np.max(rates) - np.mean(rates))


@pytest.mark.parametrize("metric", ["top1", "nll"])
def test_alarms_are_rare_for_any_three_seeds_against_any_other_three(
    runs: Runs, metric: str
) -> None:
    """Of groups drawn at random, pairs hardly depend on each other: the sharper test."""
    result = checks(runs, regrouped(400), metric, 0.0)
    assert alarms(result) <= most(400)


def test_comparing_means_alone_would_raise_many_false_alarms(runs: Runs) -> None:
    """In most reruns some cell is worse by more than the tolerance, by noise alone."""
    result = checks(runs, regrouped(100), "top1", 0.5)
    worse = [any((cell.change or 0.0) < -0.5 for cell in each.cells) for each in result]
    assert sum(worse) > 50
