"""The same machinery on a GPU: every method runs, and the law holds within rounding."""

from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.planning.plan import Plan, select
from bench.results import Results
from tests import toy

pytestmark = pytest.mark.gpu

EVERY = "[student, kd, fitnet, at, sp, cc, rkd, pkt, crd, crd+kd, wcord, wcord+kd, dcd, dcd+kd]"


def losses(whole: Plan, folder: Path) -> dict[str, list[float]]:
    results = Results(folder / "results")
    assert api.execute(whole, results, Machine(gpus=(0,), inline=True)) == []
    found = {}
    for cell in whole.cells:
        record = results.record(cell.run)
        assert record is not None
        assert "CPU" not in record["environment"]["device"]
        found[cell.method.name] = [entry["loss"] for entry in record["curves"]]
    return found


def test_every_method_trains_on_a_gpu(tmp_path: Path) -> None:
    assert len(losses(toy.plan(tmp_path, methods=EVERY), tmp_path)) == 14


@pytest.mark.parametrize("method", ["kd", "crd", "wcord", "dcd"])
def test_together_and_alone_agree_on_a_gpu(method: str, tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods=EVERY)
    alone = select(whole, f"method={method}")
    expected = losses(whole, tmp_path / "together")[method]
    assert losses(alone, tmp_path / "alone")[method] == pytest.approx(expected, rel=1e-3)


def test_bf16_trains_on_a_gpu(tmp_path: Path) -> None:
    toy.write(tmp_path, methods="[kd, crd]")
    whole = api.load_plan(tmp_path / "toy.yaml", ["recipe.precision=bf16"])
    assert set(losses(whole, tmp_path)) == {"kd", "crd"}


def test_two_cohorts_share_a_gpu(tmp_path: Path) -> None:
    whole, results = toy.plan(tmp_path, seeds="[0, 1]"), Results(tmp_path / "results")
    assert api.execute(whole, results, Machine(gpus=(0,), per_gpu=2)) == []
