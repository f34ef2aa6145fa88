"""A study on many GPUs in virtual time: the real runner, and an executor that trains nothing.

`python -m tests.execution.simulated` prints the share of the GPUs' time that was idle. The seconds
of an epoch are a network's multiply-adds divided by a speed that the estimates do not know.
"""

import argparse
import heapq
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import api
from bench.execution.protocol import Event, Job, Task
from bench.execution.runner import Runner, pending
from bench.planning import estimate
from bench.planning.estimate import Estimate
from bench.planning.plan import Plan
from bench.results import Results

IMAGES = 50_000  # of an epoch
SPEED = 1e12  # multiply-adds a second of an average network
MAX_SPEED_FACTOR = 2.0  # of a network that is faster or slower than its multiply-adds suggest
NOISE = 0.1  # standard deviation of the logarithm of a run's time
START_S = 10.0  # seconds until a worker trains
CRASHES, OUT_OF_MEMORY = 0.005, 0.01  # shares of jobs
CURVE = {"lr": 0.05, "loss": 1.0, "test": {"top1": 70.0}}


@dataclass
class SimulatedExecutor:
    """Slots in virtual time."""

    plan: Plan
    estimates: Mapping[str, Estimate]
    slots: int
    seed: int = 0
    now: float = 0.0
    busy: float = 0.0  # seconds of all slots
    _heap: list[tuple[float, int, int, Event]] = field(default_factory=list)
    _jobs: dict[int, Iterator[tuple[float, Event]]] = field(default_factory=dict)
    _started: dict[int, float] = field(default_factory=dict)
    _epochs: dict[str, int] = field(default_factory=dict)  # of a run's checkpoint
    _count: int = 0

    def __post_init__(self) -> None:
        self.devices = [f"gpu:{slot}" for slot in range(self.slots)]
        self._rng = random.Random(self.seed)
        networks = sorted({run.specification.network for run in self.plan.runs.values()})
        self._speeds = {
            name: SPEED * MAX_SPEED_FACTOR ** self._rng.uniform(-1, 1) for name in networks
        }

    def start(self, slot: int, job: Job) -> None:
        self._started[slot] = self.now
        self._jobs[slot] = self._simulate(job)
        self._advance(slot)

    def next(self) -> tuple[int, Event]:
        self.now, _, slot, event = heapq.heappop(self._heap)
        if event["event"] == "exit":
            self.busy += self.now - self._started.pop(slot)
        else:
            self._advance(slot)
        return slot, event

    def stop(self) -> None:
        pass

    def _advance(self, slot: int) -> None:
        seconds, event = next(self._jobs[slot])
        self._count += 1
        heapq.heappush(self._heap, (self.now + seconds, self._count, slot, event))

    def _epoch_seconds(self, task: Task) -> float:
        """Return the seconds of one epoch of training."""
        run = self.plan.runs[task.id]
        work = self.estimates[run.id].work(run, IMAGES) / task.specification.epochs
        return work / self._speeds[task.specification.network]

    def _teacher_seconds(self, run: str) -> float:
        """Return the seconds of a teacher's forward passes in one epoch."""
        cost = self.estimates[run].network
        assert cost is not None
        speed = self._speeds[self.plan.runs[run].specification.network]
        return IMAGES * cost.multiply_adds / speed

    def _simulate(self, job: Job) -> Iterator[tuple[float, Event]]:
        """Yield each event of a job, and the seconds before it."""
        rng, tasks = self._rng, job.tasks
        noise = {task.id: math.exp(rng.gauss(0, NOISE)) for task in tasks}
        if len(tasks) > 1 and rng.random() < OUT_OF_MEMORY:
            yield START_S, {"event": "split", "reason": "out of memory"}
            yield 0.0, {"event": "exit", "reason": None}
            return
        epochs = tasks[0].specification.epochs
        crash = rng.randrange(epochs) if rng.random() < CRASHES else None
        shared = self._teacher_seconds(job.teacher.id) if job.teacher else 0.0
        wait = START_S
        for epoch in range(min(self._epochs.get(task.id, 0) for task in tasks), epochs):
            if epoch == crash:
                yield wait, {"event": "exit", "reason": "its worker was killed by signal 11"}
                return
            wait += shared
            for task in tasks:
                seconds = self._epoch_seconds(task) * noise[task.id]
                entry = {"epoch": epoch + 1, "seconds": seconds, "shared_seconds": shared, **CURVE}
                self._epochs[task.id] = epoch + 1
                yield wait + seconds, {"event": "epoch", "run": task.id, "entry": entry}
                wait = 0.0
        fields: dict[str, Any] = {"metrics": {"last": {"top1": 70.0}}, "weights": 64 * "0"}
        for task in tasks:
            record = task.record("done", None, seconds=1.0, **fields)
            yield 0.0, {"event": "record", "record": record.content}
        yield 0.0, {"event": "exit", "reason": None}


@dataclass(frozen=True)
class Study:
    """The outcome of a simulated study.

    Attributes:
        runs: Number of runs.
        idle: Share of the slots' time in which no job ran.
        makespan: Seconds of virtual time.
        cpu: Seconds of this process.
        statuses: Number of records by status.
    """

    runs: int
    idle: float
    makespan: float
    cpu: float
    statuses: Mapping[str, int]


def simulate(plan: Plan, slots: int, folder: Path, seed: int = 0) -> Study:
    """Execute a plan in virtual time."""
    estimates, results = estimate.estimate(plan), Results(folder)
    executor = SimulatedExecutor(plan, estimates, slots, seed)
    start = time.process_time()
    Runner(plan, estimates, results, executor).run(pending(plan, results, "failed"))
    end, cpu = executor.now, time.process_time() - start
    statuses = Counter(record.status for record in results.records(curves=False))
    return Study(len(plan.runs), 1 - executor.busy / (slots * end), end, cpu, statuses)


SUITES = ("cifar100_same_arch", "cifar100_cross_arch")


def suite(folder: Path, seeds: int, teachers: str = "0", epochs: int = 12) -> Plan:
    """Return a plan of the 13 pairs of CRD's two tables with all methods and so many seeds."""
    pairs = [pair for name in SUITES for pair in api.load_plan(name).suite.pairs]
    lines = ["suite_version: 1", "title: The whole study", "dataset: cifar100"]
    lines += [f"recipe: {{epochs: {epochs}, milestones: [{epochs // 2}]}}"]
    lines += [f"teachers: {{seed: {teachers}}}", f"seeds: {list(range(seeds))}", "pairs:"]
    for pair in pairs:
        recipe = f"recipe: {{lr: {pair.recipe.lr}}}"
        teacher, student = pair.teacher.network, pair.student
        lines.append(f"  - {{teacher: {teacher}, student: {student}, {recipe}}}")
    methods = api.load_plan(SUITES[0]).suite.methods
    lines.append(f"methods: [{', '.join(method.name for method in methods)}]")
    path = folder / "study.yaml"
    path.write_text("\n".join(lines) + "\n")
    return api.load_plan(path)


def main() -> None:
    """Print the outcome of several studies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=55)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--teachers", default="0")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    for seed in range(options.times):
        with tempfile.TemporaryDirectory() as folder:
            plan = suite(Path(folder), options.seeds, options.teachers, options.epochs)
            study = simulate(plan, options.slots, Path(folder), seed)
        print(
            f"{study.runs} runs, {options.slots} slots: idle {100 * study.idle:.1f} %, finished "
            f"after {study.makespan:.0f} s; {study.cpu:.1f} s of CPU; {dict(study.statuses)}"
        )


if __name__ == "__main__":
    main()
