"""Choose the order in which cohorts start, and split cohorts; results do not depend on either.

A cohort is a group of runs that one worker executes together.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.planning.cohorts import Cohort
from bench.planning.plan import Run, depths

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate

Work = Callable[[Cohort], float]
MAX_HALF_WORK = 0.75  # no split if a half would need at least this fraction of the work


def work_of(estimates: "Mapping[str, Estimate]") -> Work:
    """Return a function that estimates a cohort's work.

    The work is the number of multiply-adds in all epochs for one training image, including the
    teacher's forward passes.
    """

    def work(cohort: Cohort) -> float:
        training = sum(estimates[run.id].work(run, 1) for run in cohort.runs)
        teacher = estimates.get(cohort.teacher or "")
        if teacher is None or teacher.network is None:
            return training
        passes = max(estimates[run.id].passes(run) for run in cohort.runs)
        return training + teacher.network.multiply_adds * passes

    return work


class Queue:
    """Cohorts that wait for a slot and for the runs that they need.

    The cohort with the most remaining work starts first. The remaining work of a teacher includes
    the longest cohort of its students, because these must wait for the teacher. A cohort is split
    if slots would otherwise be idle.

    Args:
        slots: Number of slots; each slot runs one cohort at a time.
        work: Function that estimates the work of a cohort.

    Attributes:
        work: Function that estimates the work of a cohort.
    """

    def __init__(self, slots: int, work: Work) -> None:
        self._slots, self.work = slots, work
        # heaps by the runs that must end before
        self._waiting: dict[tuple[str, ...], list[tuple[float, int, Cohort]]] = {}
        self._waiting_work = 0.0
        self._after: dict[str, float] = {}  # work of the longest chain of cohorts after a run
        self._count = 0

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def put(self, *cohorts: Cohort) -> None:
        """Add cohorts to the queue.

        Add cohorts in the same call as the cohorts that need them, because the order of teachers
        depends on the work of their students.
        """
        for cohort in _last_first(cohorts):
            work = self.work(cohort)
            rest = work + max(self._after.get(run.id, 0.0) for run in cohort.runs)
            for needed in cohort.needs:
                self._after[needed] = max(rest, self._after.get(needed, 0.0))
            self._waiting_work += work
            self._count += 1
            heap = self._waiting.setdefault(cohort.needs, [])
            heapq.heappush(heap, (-rest, self._count, cohort))

    def take(
        self, is_ready: Callable[[str], bool], free_slots: int, running_work: float
    ) -> Cohort | None:
        """Remove the next cohort from the queue and return it; split the cohort first if useful.

        Args:
            is_ready: Function that gets the id of a run; returns whether the run ended.
            free_slots: Number of slots that are idle now.
            running_work: Remaining work of the cohorts that train now.

        Returns:
            A cohort, or half of a cohort; None if the queue is empty or all cohorts wait for other
            runs.
        """
        while heaps := [
            heap for needs, heap in self._waiting.items() if heap and all(map(is_ready, needs))
        ]:
            idle = sum(map(len, heaps)) < free_slots
            cohort = heapq.heappop(min(heaps))[2]
            self._waiting_work -= self.work(cohort)
            if not (parts := self._split(cohort, idle, running_work)):
                return cohort
            self.put(*parts)
        return None

    def _split(self, cohort: Cohort, idle: bool, running_work: float) -> Sequence[Cohort]:
        """Return a cohort's two halves if a split saves time, else ().

        A split saves time only if a half needs much less work than the cohort. Shared work, such as
        the teacher's forward pass, is not halved. In addition, slots must be idle now, or become
        idle before the complete cohort would end.
        """
        if len(cohort.runs) < 2:
            return ()
        work, parts = self.work(cohort), halves(cohort.runs)
        half = self.work(parts[0])
        if half >= MAX_HALF_WORK * work:
            return ()
        per_slot = (running_work + self._waiting_work + 2 * half) / self._slots
        return parts if idle or max(per_slot, half) < work else ()


def _last_first(cohorts: Sequence[Cohort]) -> list[Cohort]:
    """Return cohorts, each before the cohorts that it needs, otherwise in the given order."""
    places = {run.id: i for i, cohort in enumerate(cohorts) for run in cohort.runs}
    needs = [[places[id] for id in cohort.needs if id in places] for cohort in cohorts]
    depth = depths(dict(enumerate(needs)))
    return [cohorts[i] for i in sorted(depth, key=depth.__getitem__, reverse=True)]


def halves(runs: Sequence[Run]) -> list[Cohort]:
    """Return two cohorts, each with half of the runs; for a single run, return one cohort."""
    return [Cohort(tuple(part)) for part in (runs[::2], runs[1::2]) if part]
