"""Cohorts as jobs of Slurm, by way of submitit, in a results folder that all nodes share.

A worker there writes states and weights itself, as on this machine. What it says is appended to
`slurm/<job>.events`, which the parent reads: it alone writes records. A job that is pre-empted, or
whose time is over, is put back in the queue and goes on from the last epoch.
"""

import json
import logging
import os
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.execution.cluster import Slurm
from bench.execution.executors.node import installed, without, worked
from bench.execution.executors.orphans import Jobs, asked
from bench.execution.protocol import Event, Job
from bench.results import Results

TICK = 0.5  # seconds between two looks at what was said
LOOKS = 6  # at what a job said that Slurm calls ended: a file may come late from another machine
CHECK = 30.0  # seconds between two questions to Slurm


@dataclass(frozen=True)
class Errand:
    """What a job of Slurm calls; submitit pickles it, and calls it again after each requeue."""

    job: Job
    events: Path
    patience: float

    def __call__(self) -> None:
        """Do what of the job has no record yet; all that is said is appended to the events."""
        ended = {
            event["record"]["id"]
            for event in _events(_read(self.events))
            if event["event"] == "record"
        }
        left = without(self.job, ended)
        nothing: list[Event] = [{"event": "exit", "reason": None}]
        said: Iterator[Event] = worked(left, self.patience) if left.tasks else iter(nothing)
        with self.events.open("a", encoding="utf-8") as file:
            file.write("\n")  # behind a line that a kill cut short
            for event in said:
                file.write(json.dumps(event) + "\n")
                file.flush()

    def checkpoint(self) -> Any:
        """What submitit puts back in the queue: the same, for runs keep their state themselves."""
        return installed("submitit", "slurm").helpers.DelayedSubmission(self)


@dataclass
class Underway:
    """A job that was submitted."""

    slurm: Any  # what submitit knows of it
    events: Path
    heard: int = 0  # bytes of the events
    asked: float = 0.0  # when Slurm was asked last
    looks: int = 0  # since Slurm called it ended


class OnSlurm:
    """A job of Slurm for each job; those that start together are one array.

    `cluster` is submitit's name for where they run: `local`, processes of this machine, is for
    tests. All jobs bear one name, by which `orphans` finds those of a command that was killed.
    """

    def __init__(
        self, options: Slurm, results: Results, patience: float, cluster: str = "slurm"
    ) -> None:
        submitit = installed("submitit", "slurm")
        logging.getLogger("submitit").setLevel(logging.ERROR)  # it tells each vain call of sacct
        self.devices: Sequence[str] = ["cuda" if options.gpus else "cpu"] * options.slots
        self._patience, self._folder = patience, results.folder.resolve() / "slurm"
        limit = {f"{cluster}_max_num_timeout": options.requeues}
        try:
            self._engine = submitit.AutoExecutor(self._folder, cluster, **limit)
        except RuntimeError as error:
            raise BenchError(f"--executor slurm: {error} sbatch and srun are needed") from error
        self._jobs = Jobs(self._folder.parent)
        self._engine.update_parameters(name=self._jobs.name, **_parameters(options))
        os.environ.pop("SBATCH_JOB_NAME", None)  # sbatch would prefer it
        self._accounted = True  # whether sacct knows of jobs that have ended
        if cluster == "slurm":
            self._accounted = not asked("sacct", "--noheader", "--jobs=0").returncode
        self._asked: list[tuple[int, Errand]] = []
        self._running: dict[int, Underway] = {}
        self._ready: deque[tuple[int, Event]] = deque()

    def start(self, slot: int, job: Job) -> None:
        """Note a job, to be submitted with all others that start now."""
        root = str(Path(job.data_root or "data").resolve())
        shared = replace(job, results=str(self._folder.parent), data_root=root)
        events = self._folder / f"{job.id}-{time.time_ns()}.events"
        self._asked.append((slot, Errand(shared, events, self._patience)))

    def next(self) -> tuple[int, Event]:
        """The next event of any job."""
        self._submit()
        while not self._ready:
            for slot, under in [*self._running.items()]:
                self._hear(slot, under)
            if not self._ready:
                time.sleep(TICK)
        return self._ready.popleft()

    def stop(self) -> None:
        """Cancel all jobs, those in the queue as well."""
        if self._running or self._asked:
            self._jobs.cancel()
        else:
            self._jobs.forget()
        self._running.clear()
        self._asked.clear()

    def _submit(self) -> None:
        if not self._asked:
            return
        slots, errands = zip(*self._asked, strict=True)
        self._jobs.note()
        try:
            with self._engine.batch():
                jobs = [self._engine.submit(errand) for errand in errands]
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise BenchError(f"--executor slurm: sbatch refused a job: {error}") from error
        for slot, errand, job in zip(slots, errands, jobs, strict=True):
            self._running[slot] = Underway(job, errand.events)
        self._asked.clear()

    def _hear(self, slot: int, under: Underway) -> None:
        """Take in what a job has said; one that ended without a word has crashed."""
        said = _read(under.events, under.heard)
        under.heard += len(said)
        for event in _events(said):
            self._ready.append((slot, event))
            if event["event"] == "exit":
                del self._running[slot]
        if slot in self._running and not said and self._ended(under):
            del self._running[slot]
            self._ready.extend((slot, event) for event in self._why(under))

    def _ended(self, under: Underway) -> bool:
        """Whether Slurm calls a job ended, and it was given the time to be heard."""
        now = time.monotonic()
        ask = now - under.asked >= CHECK
        under.asked = now if ask else under.asked
        if self._accounted:
            ended = under.slurm.done(force_check=ask)
        else:
            ended = ask and _left_the_queue(under.slurm.job_id)
        under.looks += bool(under.looks or ended)
        return under.looks > LOOKS

    def _why(self, under: Underway) -> Iterator[Event]:
        """The last events of a job that could not tell them itself."""
        number, state = under.slurm.job_id, "UNKNOWN, for there is no accounting"
        if self._accounted:
            state = under.slurm.state
        if state.startswith("OUT_OF_ME"):
            yield {"event": "split", "reason": f"out of memory: Slurm ended its job {number}"}
        reason = f"its job {number} ended as {state} (see {under.slurm.paths.stderr})"
        if not under.heard:
            reason += f"; it said nothing: do all nodes share {self._folder.parent}?"
        yield {"event": "exit", "reason": reason}


def _parameters(options: Slurm) -> dict[str, Any]:
    """The options as submitit calls them."""
    return {
        "timeout_min": options.minutes,
        "cpus_per_task": options.cpus,
        "gpus_per_node": options.gpus or None,
        "mem_gb": options.memory,
        "slurm_partition": options.partition,
        "slurm_array_parallelism": options.slots,
        "slurm_signal_delay_s": options.warning,
        "slurm_additional_parameters": dict(options.sbatch),
        "slurm_setup": [*options.setup],
    }


def _left_the_queue(number: str) -> bool:
    """Whether Slurm, which answers, has no job of that number before it or under way."""
    found = asked("squeue", "--noheader", "--format=%T", f"--jobs={number}")
    if found.returncode:
        return "Invalid job id" in found.stderr
    return not found.stdout.strip()


def _read(path: Path, since: int = 0) -> bytes:
    """The whole lines of a file from a byte on; none where there is no file yet."""
    try:
        with path.open("rb") as file:
            file.seek(since)
            head, end, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return b""
    return head + end


def _events(said: bytes) -> Iterator[Event]:
    for line in said.splitlines():
        with suppress(ValueError):  # empty, or cut short by a kill
            yield json.loads(line)
