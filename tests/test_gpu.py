"""Training on a GPU: every method runs, and numbers agree within rounding."""

from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.planning.plan import Plan, select
from bench.results import Results
from tests import toy
from tests.training.test_lockstep import EVERY

pytestmark = pytest.mark.gpu


def losses(plan: Plan, folder: Path) -> dict[str, list[float]]:
    """Run a plan on the first GPU; the loss of each epoch, by method."""
    results = Results(folder / "results")
    assert api.execute(plan, results, Machine(gpus=(0,), inline=True)) == []
    losses = {}
    for cell in plan.cells:
        record = results.record(cell.run)
        assert record is not None
        assert "CPU" not in record.environment["device"]
        losses[cell.method.name] = [epoch.loss for epoch in record.curves]
    return losses


def test_every_method_trains_on_a_gpu(tmp_path: Path) -> None:
    assert len(losses(toy.plan(tmp_path, methods=EVERY), tmp_path)) == 14


@pytest.mark.parametrize("method", ["kd", "crd", "wcord", "dcd"])
def test_together_and_alone_agree_on_a_gpu(method: str, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods=EVERY)
    expected = losses(plan, tmp_path / "together")[method]
    alone = losses(select(plan, f"method={method}"), tmp_path / "alone")
    assert alone[method] == pytest.approx(expected, rel=1e-3)


def test_bf16_trains_on_a_gpu(tmp_path: Path) -> None:
    toy.write(tmp_path, methods="[kd, crd]")
    plan = api.load_plan(tmp_path / "toy.yaml", ["recipe.precision=bf16"])
    assert set(losses(plan, tmp_path)) == {"kd", "crd"}


def test_two_cohorts_share_a_gpu(tmp_path: Path) -> None:
    plan, results = toy.plan(tmp_path, seeds="[0, 1]"), Results(tmp_path / "results")
    assert api.execute(plan, results, Machine(gpus=(0,), per_gpu=2)) == []
