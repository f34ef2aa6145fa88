"""The order in which cohorts start, and how they are split; results do not depend on it."""

import heapq
from collections.abc import Callable, Mapping, Sequence

from bench.planning.estimate import Estimate
from bench.planning.plan import Cohort, Run

Work = Callable[[Cohort], float]
MAX_HALF_WORK = 0.75  # of a cohort's work: if a half needs more, the cohort is not split


def work_of(estimates: Mapping[str, Estimate]) -> Work:
    """Return a function that estimates a cohort's work.

    Its unit is multiply-adds for each training image, including the teacher's forward passes.
    """

    def work(cohort: Cohort) -> float:
        training = sum(estimates[run.id].work(run, 1) for run in cohort.runs)
        if cohort.teacher is None or cohort.teacher not in estimates:
            return training
        return training + estimates[cohort.teacher].work(cohort.runs[0], 1) / 3

    return work


class Queue:
    """Cohorts that wait for a slot and for their teacher.

    The cohort that would end last if it started now comes first; a teacher's end includes the
    longest cohort of its students. A cohort is split where slots would be idle otherwise.

    Args:
        slots: Number of slots, which each run one cohort at a time.
        work: Function that estimates the work of a cohort.

    Attributes:
        work: The same function.
    """

    def __init__(self, slots: int, work: Work) -> None:
        self._slots, self.work = slots, work
        self._waiting: dict[str | None, list[tuple[float, int, Cohort]]] = {}  # by teacher
        self._waiting_work = 0.0
        self._longest: dict[str, float] = {}  # work of a teacher's longest cohort of students
        self._count = 0

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def put(self, *cohorts: Cohort) -> None:
        """Add cohorts; teachers should be added together with their students."""
        for cohort in sorted(cohorts, key=lambda cohort: cohort.teacher is None):
            work = self.work(cohort)
            after = max(self._longest.get(run.id, 0.0) for run in cohort.runs)
            if cohort.teacher is not None:
                self._longest[cohort.teacher] = max(work, self._longest.get(cohort.teacher, 0.0))
            self._waiting_work += work
            self._count += 1
            entry = -(work + after), self._count, cohort
            heapq.heappush(self._waiting.setdefault(cohort.teacher, []), entry)

    def take(
        self, is_ready: Callable[[str], bool], free_slots: int, running_work: float
    ) -> Cohort | None:
        """Remove and return the next cohort, or a part of it.

        Args:
            is_ready: Whether a teacher, by its run id, has ended.
            free_slots: Number of slots that are idle now.
            running_work: Remaining work of the cohorts that run.

        Returns:
            A cohort; None if no cohort's teacher is ready.
        """
        while heaps := [
            heap
            for teacher, heap in self._waiting.items()
            if heap and (teacher is None or is_ready(teacher))
        ]:
            idle = sum(map(len, heaps)) < free_slots
            cohort = heapq.heappop(min(heaps))[2]
            self._waiting_work -= self.work(cohort)
            if not (parts := self._split(cohort, idle, running_work)):
                return cohort
            self.put(*parts)
        return None

    def _split(self, cohort: Cohort, idle: bool, running_work: float) -> Sequence[Cohort]:
        """Return the halves if slots are idle, now or at the end, and halves are much shorter."""
        if len(cohort.runs) < 2:
            return ()
        work, parts = self.work(cohort), halves(cohort.runs)
        half = self.work(parts[0])
        if half >= MAX_HALF_WORK * work:
            return ()
        per_slot = (running_work + self._waiting_work + 2 * half) / self._slots
        return parts if idle or max(per_slot, half) < work else ()


def halves(runs: Sequence[Run]) -> list[Cohort]:
    """Split runs into two cohorts; a single run is one cohort."""
    return [Cohort(tuple(part)) for part in (runs[::2], runs[1::2]) if part]
