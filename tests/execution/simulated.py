"""A study on many GPUs in virtual time: the real runner, and an executor that only lets time pass.

`python -m tests.execution.simulated` prints how much of the GPUs' time was idle. Nothing is
trained: seconds are a network's multiply-adds divided by a speed that the forecasts do not know.
"""

import argparse
import heapq
import math
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import api
from bench.callbacks.progress import Progress
from bench.execution.protocol import Event, Job, Task
from bench.execution.runner import Runner, pending
from bench.planning import estimate
from bench.planning.estimate import Forecast
from bench.planning.plan import Cohort, Plan
from bench.results import Record, Results

IMAGES = 50_000  # of an epoch
SPEED = 1e12  # multiply-adds a second, where a network is neither fast nor slow
WRONG = 2.0  # a network is up to so many times faster, or slower, than its multiply-adds say
NOISE = 0.1  # standard deviation of the logarithm of a run's time
START = 10.0  # seconds until a worker trains
CRASHES, SHORT = 0.005, 0.01  # shares of jobs whose worker crashes, or lacks memory at the start
CURVE = {"lr": 0.05, "loss": 1.0, "test": {"top1": 70.0}}


@dataclass
class Simulated:
    """So many slots in virtual time; a job's epochs take what the networks' speeds say."""

    plan: Plan
    forecasts: Mapping[str, Forecast]
    slots: int
    seed: int = 0
    now: float = 0.0
    busy: float = 0.0  # seconds, of all slots
    _heap: list[tuple[float, int, int, Event]] = field(default_factory=list)
    _courses: dict[int, Iterator[tuple[float, Event]]] = field(default_factory=dict)
    _begun: dict[int, float] = field(default_factory=dict)
    _epochs: dict[str, int] = field(default_factory=dict)  # of a run's state
    _turn: int = 0

    def __post_init__(self) -> None:
        self.devices = [f"gpu:{slot}" for slot in range(self.slots)]
        self._rng = random.Random(self.seed)
        networks = sorted({run.specification["network"] for run in self.plan.runs.values()})
        self._speeds = {name: WRONG ** self._rng.uniform(-1, 1) for name in networks}

    def start(self, slot: int, job: Job) -> None:
        """Begin."""
        self._begun[slot] = self.now
        self._courses[slot] = self._course(job)
        self._advance(slot)

    def next(self) -> tuple[int, Event]:
        """Let time pass until something happens."""
        self.now, _, slot, event = heapq.heappop(self._heap)
        if event["event"] == "exit":
            self.busy += self.now - self._begun.pop(slot)
        else:
            self._advance(slot)
        return slot, event

    def stop(self) -> None:
        """Nothing goes on by itself."""

    def _advance(self, slot: int) -> None:
        after, event = next(self._courses[slot])
        self._turn += 1
        heapq.heappush(self._heap, (self.now + after, self._turn, slot, event))

    def _seconds(self, task: Task) -> float:
        """Of one epoch of a run, as a student or a teacher that learns."""
        epochs = task.specification["recipe"]["epochs"]
        run = self.plan.runs[task.id]
        return self._slowness(task.id) * self.forecasts[run.id].work(run, IMAGES) / epochs

    def _slowness(self, run: str) -> float:
        """Seconds for a multiply-add of its network."""
        return 1 / (SPEED * self._speeds[self.plan.runs[run].specification["network"]])

    def _course(self, job: Job) -> Iterator[tuple[float, Event]]:
        """What happens, and after how many seconds each."""
        rng, tasks = self._rng, job.tasks
        noises = {task.id: math.exp(rng.gauss(0, NOISE)) for task in tasks}
        if len(tasks) > 1 and rng.random() < SHORT:
            yield START, {"event": "split", "reason": "too little memory"}
            yield 0.0, {"event": "exit", "reason": None}
            return
        epochs = tasks[0].specification["recipe"]["epochs"]
        crash = rng.randrange(epochs) if rng.random() < CRASHES else None
        shared = 0.0
        if job.teacher is not None:
            cost = self.forecasts[job.teacher["id"]].network
            assert cost is not None
            shared = self._slowness(job.teacher["id"]) * IMAGES * cost.multiply_adds
        wait = START
        for epoch in range(min(self._epochs.get(task.id, 0) for task in tasks), epochs):
            if epoch == crash:
                yield wait, {"event": "exit", "reason": "its worker ended by signal 11"}
                return
            wait += shared
            for task in tasks:
                took = self._seconds(task) * noises[task.id]
                entry = {"epoch": epoch + 1, "seconds": took, "shared_seconds": shared, **CURVE}
                self._epochs[task.id] = epoch + 1
                yield wait + took, {"event": "epoch", "run": task.id, "entry": entry}
                wait = 0.0
        for task in tasks:
            record = task.record(
                "done", None, metrics={"last": {"top1": 70.0}}, weights=64 * "0", seconds=1.0
            )
            yield 0.0, {"event": "record", "record": record}
        yield 0.0, {"event": "exit", "reason": None}


@dataclass
class Watch:
    """Keeps the progress of the study, as a view does."""

    progress: Progress

    def started(self, cohort: Cohort, device: str) -> None:
        self.progress.start(cohort, device)

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        self.progress.advance(run, entry)

    def record(self, record: Record) -> None:
        self.progress.end(record)

    def notice(self, text: str) -> None:
        pass

    def closed(self) -> None:
        pass


@dataclass(frozen=True)
class Story:
    """How a simulated study went."""

    runs: int
    idle: float  # share of the slots' time in which nothing ran
    makespan: float  # seconds of virtual time
    cpu: float  # seconds of this process
    statuses: Mapping[str, int]


def study(plan: Plan, slots: int, folder: Path, seed: int = 0) -> Story:
    """Carry a plan out in virtual time."""
    forecasts, results = estimate.forecast(plan), Results(folder)
    executor = Simulated(plan, forecasts, slots, seed)
    begun = time.process_time()
    todo = pending(plan, results, "failed")
    watch = Watch(Progress(plan, todo, forecasts, clock=lambda: executor.now))
    Runner(plan, forecasts, results, executor, [watch]).run(todo)
    end, cpu = executor.now, time.process_time() - begun
    idle = 1 - executor.busy / (slots * end)
    return Story(len(plan.runs), idle, end, cpu, watch.progress.counts)


SUITES = ("cifar100_same_arch", "cifar100_cross_arch")


def suite(folder: Path, seeds: int, teachers: str = "0", epochs: int = 12) -> Plan:
    """The 13 pairs of CRD's two tables, all methods, so many seeds."""
    pairs = [pair for name in SUITES for pair in api.load_plan(name).suite.pairs]
    lines = ["suite_version: 1", "title: The whole study", "dataset: cifar100"]
    lines += [f"recipe: {{epochs: {epochs}, milestones: [{epochs // 2}]}}"]
    lines += [f"teachers: {{seed: {teachers}}}", f"seeds: {list(range(seeds))}", "pairs:"]
    for pair in pairs:
        own = f"recipe: {{lr: {pair.recipe.lr}}}"
        teacher, student = pair.teacher.network, pair.student
        lines.append(f"  - {{teacher: {teacher}, student: {student}, {own}}}")
    methods = api.load_plan(SUITES[0]).suite.methods
    lines.append(f"methods: [{', '.join(method.name for method in methods)}]")
    path = folder / "study.yaml"
    path.write_text("\n".join(lines) + "\n")
    return api.load_plan(path)


def main() -> None:
    """Print the story of each of several studies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=55)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--teachers", default="0")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--times", type=int, default=1)
    asked = parser.parse_args()
    for seed in range(asked.times):
        with tempfile.TemporaryDirectory() as folder:
            plan = suite(Path(folder), asked.seeds, asked.teachers, asked.epochs)
            told = study(plan, asked.slots, Path(folder), seed)
        print(
            f"{told.runs} runs, {asked.slots} slots: idle {100 * told.idle:.1f} %, "
            f"all done after {told.makespan:.0f} s; {told.cpu:.1f} s of CPU; {dict(told.statuses)}"
        )


if __name__ == "__main__":
    main()
