"""The search for settings: proposals, batches, successive halving, the choice."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from bench.planning.search import Outcome, Search, Trial, rungs_of, search
from bench.suite.tuning import Range, Tune

SPACE = {"kd.weight": Range(0.1, 10, log=True), "kd.temperature": (1.0, 2.0, 4.0, 8.0)}
LONG = 240


class Runs:
    """Trials whose value is highest at weight 1; only the first runs have ended.

    Args:
        ended: Number of runs that have ended.
    """

    def __init__(self, ended: int = 1000) -> None:
        self.ids: dict[str, None] = {}
        self._ended = ended

    def __call__(self, values: Mapping[str, Any], epochs: int) -> Outcome:
        run = f"{dict(values)} {epochs}"
        self.ids[run] = None
        place = list(self.ids).index(run)
        value = 50 - abs(math.log(values["kd.weight"])) + epochs / LONG
        return Outcome((run,), place < self._ended, value if place < self._ended else None)


def trials(runs: Runs | None = None, **options: Any) -> tuple[Trial, ...]:
    tune = Tune({}, 50, **{"trials": 9, **options})
    return search(tune, SPACE, LONG, runs or Runs())


@pytest.mark.parametrize("options", [{}, {"search": "tpe"}, {"pruning": "halving"}], ids=str)
def test_an_incomplete_search_is_the_beginning_of_the_complete_one(options: dict[str, str]) -> None:
    complete = trials(**options)
    for ended in range(9):
        part = trials(Runs(ended), **options)
        assert [t.values for t in part] == [t.values for t in complete][: len(part)]
        assert any(trial.state == "open" for trial in part)


def test_more_trials_begin_with_the_same_trials() -> None:
    assert trials(trials=12)[:9] == trials(trials=9)


def test_values_are_inside_the_space_and_short() -> None:
    for trial in trials(trials=50):
        assert 0.1 <= trial.values["kd.weight"] <= 10
        assert len(str(trial.values["kd.weight"])) <= 6
        assert trial.values["kd.temperature"] in SPACE["kd.temperature"]
    whole = {"crd.negatives": Range(4, 64, integer=True)}
    numbers = search(Tune({}, 50), whole, 2, lambda values, epochs: Outcome((), True, 1.0))
    assert all(type(trial.values["crd.negatives"]) is int for trial in numbers)


def test_tpe_learns_from_its_trials() -> None:
    first = trials(search="tpe")
    assert first[:4] == trials()[:4]
    assert [t.values for t in first[4:]] != [t.values for t in trials()[4:]]


def test_halving_trains_the_best_third_for_three_times_as_many_epochs() -> None:
    assert rungs_of(LONG) == (26, 80, 240)
    assert rungs_of(2) == (1, 2)
    found = trials(pruning="halving")
    assert sorted(trial.epochs for trial in found) == [26] * 6 + [80] * 2 + [240]
    assert [trial.state for trial in found].count("done") == 1
    best = max(trials(), key=lambda trial: trial.value or 0)
    assert next(t for t in found if t.state == "done").values == best.values
    assert all(len(t.runs) == {26: 1, 80: 2, 240: 3}[t.epochs] for t in found)


def made(*values: float | None) -> Search:
    states = ["failed" if value is None else "done" for value in values]
    each = zip(values, states, strict=True)
    listed = [Trial(i, {"kd.weight": i}, value=v, state=s) for i, (v, s) in enumerate(each, 1)]  # type: ignore[arg-type]
    return Search("kd", "a/b", True, tuple(listed), len(values))


def test_of_equal_trials_the_first_is_chosen() -> None:
    chosen = made(None, 50.0, 60.0, 60.0).chosen
    assert chosen is not None
    assert chosen.number == 3
    assert made(None, None).chosen is None
    assert "no trial has a result" in made(None).text


def test_the_best_value_so_far_never_falls() -> None:
    assert made(None, 50.0, 40.0, 60.0, None).best == [None, 50, 50, 60, 60]
