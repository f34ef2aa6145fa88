"""Part `cohort`: the step of each method in one cohort against KD's, and the memory of all.

Run it with the suite of all methods: `python -m tests.benchmarks cohort --suite
tests/benchmarks/all.yaml --threads 1 --clock processor`.
"""

import sys
from collections.abc import Callable, Sequence

from bench.training.trainer import Trainer
from tests.benchmarks.memory import measured
from tests.benchmarks.ours import CohortSteps
from tests.benchmarks.table import Row, divide
from tests.benchmarks.timing import CLOCKS
from tests.benchmarks.workload import Workload

BASE = "kd"
TARGET = "≤ 1.3"


class ClockedTimer:
    """A trainer's timer that reads the clock of the benchmark.

    Args:
        clock: Function that returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._total = clock, 0.0

    def __enter__(self) -> None:
        self._start = self._clock()

    def __exit__(self, *error: object) -> None:
        self._total += self._clock() - self._start

    def seconds(self) -> float:
        """Return the seconds added since the last call."""
        total, self._total = self._total, 0.0
        return total


def cohort(load: Workload) -> list[Row]:
    """Time each run's own step in lockstep; then measure the memory of KD alone and of all."""
    steps = CohortSteps(load, load.selected)
    if not load.gpu:  # on a GPU, the timers wait for the device
        steps.clock = ClockedTimer(CLOCKS[load.clock])
        for learner in steps.learners:
            learner.timer = ClockedTimer(CLOCKS[load.clock])
    base = next(learner for learner in steps.learners if learner.task.name == BASE)
    staged = [base, *steps.staged]
    times = time_learners(steps, staged, load) if len(staged) > 1 else {}
    rows = rows_against_base(times, staged, "stage before training")
    steps.end_stages()
    times = time_learners(steps, steps.learners, load)
    shared = Row("cohort", "shared: batches and the teacher's pass", times.pop(""))
    rows = [shared, *rows_against_base(times, steps.learners, "step"), *rows]
    sizes = {name: measured(load, methods) for name, methods in
             ((BASE, [BASE]), (f"{len(load.selected)} methods", load.selected))}  # fmt: skip
    for name, size in sizes.items():
        ratio = f"this / {BASE}", [size["peak"] / sizes[BASE]["peak"]]
        rows.append(Row("memory", f"{name}: states", [size["states"] / 1e6], "MB"))
        rows.append(Row("memory", f"{name}: peak of the process", [size["peak"] / 1e6], "MB", *ratio))
    return rows


def time_learners(
    steps: CohortSteps, learners: Sequence[Trainer], load: Workload
) -> dict[str, list[float]]:
    """Return milliseconds a step by method, one number a round; the key "" is the shared work."""
    timers = {"": steps.clock, **{learner.task.name: learner.timer for learner in learners}}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(load.rounds):
        steps.train(learners, load.warm)
        for timer in timers.values():
            timer.seconds()
        steps.train(learners, load.steps)
        for name, timer in timers.items():
            samples[name].append(1000 * timer.seconds() / load.steps)
        print(f"  round {turn + 1} of {load.rounds}", file=sys.stderr)
    return samples


def rows_against_base(
    times: dict[str, list[float]], learners: Sequence[Trainer], label: str
) -> list[Row]:
    """Return a row for each run, with its time over KD's and the bytes of its own tensors."""
    rows = []
    for learner in learners:
        if (samples := times.get(learner.task.name)) is not None:
            what = f"{learner.task.name}, {own_megabytes(learner):.3g} MB of its own"
            ratio = divide(samples, times[BASE])
            rows.append(Row(label, what, samples, "ms", f"this / {BASE}", ratio, TARGET))
    return rows


def own_megabytes(learner: Trainer) -> float:
    """Return the megabytes of the parameters and buffers of a run's distillers."""
    tensors = [*learner.loss.parameters(), *learner.loss.buffers()]
    return sum(tensor.nbytes for tensor in tensors) / 1e6
