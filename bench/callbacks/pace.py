"""How long work takes, by what was measured: of each network, and of what stands around it."""

import heapq
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from bench.execution.queue import Queue, Work
from bench.planning.plan import Cohort


@dataclass
class Pace:
    """Seconds of clock time for work, which is measured in any unit."""

    _measured: dict[Hashable, tuple[float, float]] = field(default_factory=dict)
    _all: tuple[float, float] = (0.0, 0.0)  # seconds, work
    _told: float = 0.0  # seconds that the epochs said they took
    _clocked: float = 0.0  # that the clock counted meanwhile
    _starts: tuple[float, int] = (0.0, 0)  # seconds until cohorts began to train, how many

    def add(self, what: Hashable, seconds: float, work: float) -> None:
        """Note what somebody said of his work."""
        before = self._measured.get(what, (0.0, 0.0))
        self._measured[what] = before[0] + seconds, before[1] + work
        self._all = self._all[0] + seconds, self._all[1] + work

    def clock(self, seconds: float, told: float) -> None:
        """Note what the clock counted for an epoch of a cohort of which so much was told."""
        self._clocked, self._told = self._clocked + seconds, self._told + told

    def began(self, seconds: float) -> None:
        """Note how long a cohort took to begin."""
        self._starts = self._starts[0] + seconds, self._starts[1] + 1

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return self._all[0] > 0 and self._all[1] > 0

    def seconds(self, what: Hashable, work: float) -> float:
        """That the work will take: at its own pace, or at that of all where it is new."""
        seconds, done = self._measured.get(what, (0.0, 0.0))
        if not done:
            seconds, done = self._all
        return work * seconds / done

    @property
    def around(self) -> float:
        """Seconds of the clock for each that epochs tell: what else takes time."""
        return self._clocked / self._told if self._told else 1.0

    @property
    def start(self) -> float:
        """Seconds until a cohort trains."""
        return self._starts[0] / self._starts[1] if self._starts[1] else 0.0


def ending(
    underway: Iterable[tuple[float, Cohort]],
    waiting: Sequence[Cohort],
    slots: int,
    seconds: Work,
) -> float:
    """Seconds until all is done: what is under way, with what is left of it, and what waits."""
    queue, now = Queue(slots, seconds), 0.0
    queue.put(*waiting)
    ends = [(left, turn, cohort) for turn, (left, cohort) in enumerate(underway)]
    heapq.heapify(ends)
    turn, going = len(ends), sum(left for left, _, _ in ends)
    groups = (*waiting, *(cohort for _, _, cohort in ends))
    teachers = {run.id for group in groups if group.teacher is None for run in group.runs}
    while True:
        while free := max(0, slots - len(ends)):
            left = going - now * len(ends)
            group = queue.take(lambda teacher: teacher not in teachers, free, left)
            if group is None:
                break
            turn, end = turn + 1, now + seconds(group)
            heapq.heappush(ends, (end, turn, group))
            going += end
        if not ends:
            return now
        now, _, group = heapq.heappop(ends)
        going -= now
        teachers.difference_update(run.id for run in group.runs)
