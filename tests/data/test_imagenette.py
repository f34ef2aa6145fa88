"""Real photographs from a tar file, streamed or resident, with timm's networks and all methods."""

import tarfile
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.results import Results
from tests.conftest import PACK

DOCS = Path(__file__).parents[2] / "docs/SUITES.md"


@pytest.mark.slow
@pytest.mark.case("relative-folder", "too-few-negatives")
def test_the_documented_suite_trains_with_all_methods(here: Path) -> None:
    archive = PACK / "imagenette_100.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    with tarfile.open(archive) as tar:
        tar.extractall(here, filter="data")
    text = DOCS.read_text("utf-8").partition("# imagenette.yaml\n")[2].partition("```")[0]
    assert len(text.splitlines()) == 9
    (here / "imagenette.yaml").write_text(text)
    plan = api.load_plan(here / "imagenette.yaml")
    assert not api.execute(plan, Results(here / "results"), Machine(gpus=(), workers=1))
    records = list(Results(here / "results").records())
    assert [record.status for record in records] == ["done"] * 15
