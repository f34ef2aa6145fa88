"""Ten thousand runs on 64 GPUs, in virtual time: hardly any slot idles.

Here a part of it, whose time is not ruled by a single teacher; `tox -e soak` does all of it.
"""

import pytest

from tests.execution.simulated import Story, study, suite
from tests.soak import LONG, times

IDLE = 0.05


@pytest.fixture(scope="module", params=["0", "same"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("study")
    plan = suite(folder, seeds=times(5, 55), teachers=request.param, epochs=times(6, 12))
    return study(plan, slots=times(6, 64), folder=folder)


@pytest.mark.soak
def test_slots_hardly_idle(story: Story) -> None:
    assert story.statuses == {"done": story.runs}
    assert story.runs > (10_000 if LONG else 900)
    assert story.idle < IDLE


@pytest.mark.soak
def test_keeping_the_books_costs_little(story: Story) -> None:
    """A few milliseconds a run, whether there are a thousand or ten thousand."""
    assert story.cpu / story.runs < 0.005
