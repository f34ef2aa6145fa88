"""Ten thousand runs on 64 GPUs in virtual time: slots are hardly idle.

By default a tenth of the study, in which no single teacher determines the time; `tox -e soak`
simulates all of it.
"""

import pytest

from tests.execution.simulated import Study, simulate, suite
from tests.soak import LONG, times

MAX_IDLE = 0.05
MAX_CPU_S = 0.005  # of a run, whether there are a thousand or ten thousand


@pytest.fixture(scope="module", params=["0", "same"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    plan = suite(folder, seeds=times(5, 55), teachers=request.param, epochs=times(6, 12))
    return simulate(plan, slots=times(6, 64), folder=folder)


@pytest.mark.slow
@pytest.mark.soak
def test_slots_are_hardly_idle(study: Study) -> None:
    assert study.statuses == {"done": study.runs}
    assert study.runs > (10_000 if LONG else 900)
    assert study.idle < MAX_IDLE


@pytest.mark.slow
@pytest.mark.soak
def test_scheduling_takes_milliseconds_a_run(study: Study) -> None:
    assert study.cpu / study.runs < MAX_CPU_S
