"""Part `cohort`: the step of each method in one cohort against KD's, and the memory of all.

Run it with the suite of all methods: `python -m tests.benchmarks cohort --suite
tests/benchmarks/all.yaml --threads 1 --clock processor`.
"""

import sys
from collections.abc import Callable, Mapping, Sequence

from bench.training.trainer import Trainer
from tests.benchmarks.memory import measured, resident_bytes, state_bytes
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
    base = measured(load, [BASE])
    assert len(load.data.train_labels) > 0  # loaded before the peak is reset
    resident_bytes(peak=False)
    steps = clocked(load, load.selected)
    staged = [learner.task.name for learner in steps.staged]
    steps.end_stages()
    times = time_learners(steps, load)
    sizes = {"states": state_bytes(steps), "peak": resident_bytes(peak=True)}
    shared = Row("cohort", "shared: batches and the teacher's pass", times.pop(""))
    rows = [shared, *rows_against_base(times, steps, "step")]
    if staged:
        steps = clocked(load, [BASE, *staged])
        rows += rows_against_base(time_learners(steps, load), steps, "stage before training")
    for name, size in ((BASE, base), (f"{len(load.selected)} methods", sizes)):
        ratio = f"this / {BASE}", [size["peak"] / base["peak"]]
        rows.append(Row("memory", f"{name}: states", [size["states"] / 1e6], "MB"))
        rows.append(
            Row("memory", f"{name}: peak of the process", [size["peak"] / 1e6], "MB", *ratio)
        )
    return rows


def clocked(load: Workload, methods: Sequence[str]) -> CohortSteps:
    """Return a cohort whose timers read the benchmark's clock; on a GPU, they wait for it."""
    steps = CohortSteps(load, methods)
    if not load.gpu:
        for owner in (steps, *steps.learners):
            owner.timer = ClockedTimer(CLOCKS[load.clock])
    return steps


def time_learners(steps: CohortSteps, load: Workload) -> dict[str, list[float]]:
    """Return milliseconds a step by method, one number a round; the key "" is the shared work."""
    timers = {"": steps.timer, **{learner.task.name: learner.timer for learner in steps.learners}}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    steps(1)
    for turn in range(load.rounds):
        steps(load.warm)
        for timer in timers.values():
            timer.seconds()
        steps(load.steps)
        for name, timer in timers.items():
            samples[name].append(1000 * timer.seconds() / load.steps)
        latest = ", ".join(f"{name} {values[-1]:.0f}" for name, values in samples.items())
        print(f"  round {turn + 1} of {load.rounds}: {latest}", file=sys.stderr)
    return samples


def rows_against_base(
    times: Mapping[str, Sequence[float]], steps: CohortSteps, label: str
) -> list[Row]:
    """Return a row for each run, with its time over KD's and the bytes of its own tensors."""
    rows = []
    for learner in steps.learners:
        samples = times[learner.task.name]
        what = f"{learner.task.name}, {own_megabytes(learner):.3g} MB of its own"
        ratio = divide(samples, times[BASE])
        rows.append(Row(label, what, samples, "ms", f"this / {BASE}", ratio, TARGET))
    return rows


def own_megabytes(learner: Trainer) -> float:
    """Return the megabytes of the parameters and buffers of a run's distillers."""
    tensors = [*learner.loss.parameters(), *learner.loss.buffers()]
    return sum(tensor.nbytes for tensor in tensors) / 1e6
