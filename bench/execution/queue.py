"""Which cohort is next, and in how many parts; whatever is chosen, the results are the same."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.planning.plan import Cohort, Run

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate

Work = Callable[[Cohort], float]
WORTH = 0.75  # of a cohort's work: half of its runs are no part of their own if they are more


def work_of(forecasts: "Mapping[str, Estimate]") -> Work:
    """A cohort's work: multiply-adds for each image of the set, the teacher's passes included."""

    def work(cohort: Cohort) -> float:
        learning = sum(forecasts[run.id].work(run, 1) for run in cohort.runs)
        if cohort.teacher is None or cohort.teacher not in forecasts:
            return learning
        return learning + forecasts[cohort.teacher].work(cohort.runs[0], 1) / 3

    return work


class Queue:
    """Cohorts that wait for one of so many slots, and for their teacher.

    Those that end latest, if they began now, come first: of a teacher, it and the longest cohort of
    its students. A cohort is split where slots would idle otherwise.
    """

    def __init__(self, slots: int, work: Work, cohorts: Iterable[Cohort] = ()) -> None:
        self.total = 0.0  # work that waits
        self._slots, self._work = slots, work
        self._waiting: dict[str | None, list[tuple[float, int, Cohort]]] = {}  # by teacher
        self._longest: dict[str, float] = {}
        self._turn = 0
        self.put(*cohorts)

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def put(self, *cohorts: Cohort) -> None:
        """Let cohorts wait; teachers are best put together with their students."""
        for cohort in sorted(cohorts, key=lambda cohort: cohort.teacher is None):
            own = self._work(cohort)
            after = max(self._longest.get(run.id, 0.0) for run in cohort.runs)
            if cohort.teacher is not None:
                self._longest[cohort.teacher] = max(own, self._longest.get(cohort.teacher, 0.0))
            self.total += own
            self._turn += 1
            place = -(own + after), self._turn, cohort
            heapq.heappush(self._waiting.setdefault(cohort.teacher, []), place)

    def take(self, ready: Callable[[str], bool], free: int, underway: float) -> Cohort | None:
        """The next cohort whose teacher is ready, or a part of it; None if there is none.

        `free` slots have nothing to do; what the others have begun is `underway`, work too.
        """
        while heaps := [
            heap
            for teacher, heap in self._waiting.items()
            if heap and (teacher is None or ready(teacher))
        ]:
            idle = sum(map(len, heaps)) < free
            cohort = self._pop(min(heaps))
            if not (parts := self._parts(cohort, idle, underway)):
                return cohort
            self.put(*parts)
        return None

    def _pop(self, heap: list[tuple[float, int, Cohort]]) -> Cohort:
        cohort = heapq.heappop(heap)[2]
        self.total -= self._work(cohort)
        return cohort

    def _parts(self, cohort: Cohort, idle: bool, underway: float) -> Sequence[Cohort]:
        """Its halves if slots would idle, now or at the end, and halves take much less time."""
        if len(cohort.runs) < 2:
            return ()
        whole, parts = self._work(cohort), halves(cohort.runs)
        part = self._work(parts[0])
        if part >= WORTH * whole:
            return ()
        share = (underway + self.total + 2 * part) / self._slots
        return parts if idle or max(share, part) < whole else ()


def halves(runs: Sequence[Run]) -> list[Cohort]:
    """The runs in two cohorts, or in one where there is but one run."""
    return [Cohort(tuple(part)) for part in (runs[::2], runs[1::2]) if part]
