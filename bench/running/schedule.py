"""How runs are parted among slots; whatever the parts, the results are the same."""

from collections.abc import Callable, Sequence

from bench.plan import Cohort, Run

MOST_PARTS = 4  # a cohort is split into at most so many, to keep all slots busy


def divided(groups: Sequence[Cohort], slots: int, work: Callable[[Cohort], float]) -> list[Cohort]:
    """The cohorts, split where that ends earlier on so many slots; results stay the same."""
    choices = []
    for parts in range(1, MOST_PARTS + 1):
        choices.append([part for group in groups for part in _split(group, parts)])
    return min(choices, key=lambda choice: _makespan([work(c) for c in choice], slots))


def halves(runs: Sequence[Run]) -> list[Cohort]:
    """The runs in two cohorts."""
    return _split(Cohort(tuple(runs)), 2)


def _split(cohort: Cohort, parts: int) -> list[Cohort]:
    found = [cohort.runs[start::parts] for start in range(parts)]
    return [Cohort(runs) for runs in found if runs]


def _makespan(durations: Sequence[float], slots: int) -> float:
    """When the last slot ends if the longest are always started first."""
    ends = [0.0] * slots
    for duration in sorted(durations, reverse=True):
        ends[ends.index(min(ends))] += duration
    return max(ends)
