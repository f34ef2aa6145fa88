"""The queue: which cohort starts next, and when a cohort is split."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.execution.queue import Queue
from bench.planning.cohorts import Cohort, cohorts
from bench.planning.plan import Run
from bench.spec import RunSpec
from tests import toy


def students(count: int, seed: int, teacher: str = "t") -> Cohort:
    spec = RunSpec(network="resnet8", teacher=teacher, seed=seed)
    return Cohort(tuple(Run(f"{teacher}-{seed}-{number}", spec) for number in range(count)))


def teacher(name: str) -> Cohort:
    return Cohort((Run(name, RunSpec(network="resnet8", seed=0)),))


def work(cohort: Cohort) -> float:
    """Count a teacher's forward passes as two students."""
    return 2.0 + len(cohort.runs) if cohort.teacher else 10.0 * len(cohort.runs)


def filled(slots: int, *waiting: Cohort) -> Queue:
    queue = Queue(slots, work)
    queue.put(*waiting)
    return queue


def sizes_taken(queue: Queue, slots: int) -> list[int]:
    """Return the sizes of the cohorts that start on free slots, one after the other."""
    sizes, running_work = [], 0.0
    for free in range(slots, 0, -1):
        if cohort := queue.take(lambda teacher: True, free, running_work):
            sizes.append(len(cohort.runs))
            running_work += work(cohort)
    return sizes


@pytest.mark.parametrize(
    ("waiting", "slots", "sizes"),
    [
        ([14, 14, 14, 14], 2, [14, 14]),  # enough for all slots
        ([14, 14, 14], 2, [14, 14]),  # the last one is split later
        ([14], 2, [7, 7]),
        ([14], 4, [4, 4, 3, 3]),
        ([2], 2, [2]),  # a half would repeat the teacher's passes, and hardly be shorter
        ([1], 8, [1]),
    ],
)
def test_cohort_is_split_where_slots_would_be_idle(
    waiting: list[int], slots: int, sizes: list[int]
) -> None:
    queue = filled(slots, *(students(size, seed) for seed, size in enumerate(waiting)))
    assert sizes_taken(queue, slots) == sizes


def test_last_cohort_is_split_for_a_slot_that_is_free_soon() -> None:
    first = filled(2, students(14, 0)).take(lambda teacher: True, 1, 1.0)
    assert first is not None
    assert len(first.runs) == 7


def test_cohort_waits_for_its_teacher() -> None:
    queue = filled(2, students(14, 0))
    assert queue.take(lambda teacher: False, 2, 0.0) is None
    assert queue.take(lambda teacher: True, 2, 0.0) is not None


def test_teacher_of_the_longest_cohort_starts_first() -> None:
    queue = filled(1, teacher("a"), teacher("b"), students(5, 0, "b"), students(1, 0, "t"))
    order = [queue.take(lambda teacher: True, 1, 0.0) for _ in range(4)]
    assert [cohort.runs[0].id for cohort in order if cohort] == ["b", "a", "b-0-0", "t-0-0"]
    assert not queue


def test_cohort_shares_teacher_and_seed(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, seeds="[0, 1]", methods="[student, kd, at]")
    groups: Sequence[Cohort] = cohorts(plan.runs.values())
    assert sorted(len(group.runs) for group in groups) == [1, 3, 3]
    for group in groups:
        assert len({(run.teacher, run.specification.seed) for run in group.runs}) == 1
