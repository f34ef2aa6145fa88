"""The law of training for every method that is newer than the papers' fourteen."""

from pathlib import Path

import pytest

from bench.planning.plan import Plan, select
from bench.results import Results
from bench.suite import canonical
from tests import toy
from tests.training.test_lockstep import EVERY

TWO_CLASSIFIERS = {"deit+token"}  # not for these networks; test_extensions trains it
NEW = [name for name in canonical() if name not in EVERY and name not in TWO_CLASSIFIERS]
SMALL = (
    "{ab: {pretraining_epochs: 2}, ft: {pretraining_epochs: 1}, fsp: {pretraining_epochs: 2}, "
    "rrd: {queue: 48, width: 8}, semckd: {batch_size: 16}, crd: {negatives: 16, width: 8}}"
)

pytestmark = pytest.mark.slow


def make_plan(folder: Path, methods: str = f"[{', '.join(NEW)}]") -> Plan:
    return toy.plan(folder, methods=methods, options=SMALL)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, str], Results]:
    folder = tmp_path_factory.mktemp("together")
    plan = make_plan(folder)
    return plan, toy.outcome(plan, folder), Results(folder / "results")


def test_all_methods_are_done(together: tuple[Plan, dict[str, str], Results]) -> None:
    plan, numbers, results = together
    records = {cell.method.name: results.summary(cell.run) for cell in plan.cells}
    assert {n: r.reason for n, r in records.items() if r and r.status != "done"} == {}
    same = {"dist+kd", "dist"}  # methods may be equal only where the issue says so
    assert len(set(numbers.values())) >= len(numbers) - len(same)


@pytest.mark.parametrize("method", NEW)
def test_method_gives_the_same_numbers_alone_and_together(
    together: tuple[Plan, dict[str, str], Results], method: str, tmp_path: Path
) -> None:
    plan, expected, _ = together
    assert toy.outcome(select(plan, f"method={method}"), tmp_path) == {method: expected[method]}


@pytest.mark.parametrize("stop_after", [3, 40])
def test_interrupted_methods_give_the_same_numbers(
    together: tuple[Plan, dict[str, str], Results],
    stop_after: int,
    tmp_path: Path,
) -> None:
    plan, expected, _ = together
    toy.run_interrupted(plan, tmp_path, stop_after)
    assert toy.outcome(plan, tmp_path) == expected
