"""Where jobs are worked on: the seam between the runner and machines."""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.execution.protocol import Event, Job
from bench.execution.worker import work

PATIENCE = 1800.0  # seconds without a sign of life after which a worker counts as hanging
GRACE = 3.0  # seconds that killed workers, all together, are waited for
KILLS = Path("/proc/vmstat")  # where Linux counts those that it has killed for lack of memory
TICK = 1.0  # seconds between two looks at who is silent


class Executor(Protocol):
    """Slots, each of which works on one job at a time."""

    @property
    def devices(self) -> Sequence[str]:
        """The device of each slot."""

    def start(self, slot: int, job: Job) -> None:
        """Begin a job on a free slot."""

    def next(self) -> tuple[int, Event]:
        """The next event of any slot, waited for; `exit` with its `reason` ends a job.

        Whoever can tell a job that hangs ends it himself.
        """

    def stop(self) -> None:
        """End all jobs now; what they kept is there for the next time."""


class Inline:
    """One slot in this process: nothing is isolated, everything can be stepped through."""

    def __init__(self, device: str = "cpu") -> None:
        self.devices = [device]
        self._events: deque[Event] = deque()

    def start(self, slot: int, job: Job) -> None:
        """Do the whole job, and keep its events for `next`."""
        work(job, self._events.append)
        self._events.append({"event": "exit", "reason": None})

    def next(self) -> tuple[int, Event]:
        """The next event of the job that was started."""
        return 0, self._events.popleft()

    def stop(self) -> None:
        """Nothing runs beside the caller."""


@dataclass
class Worker:
    """A worker under way."""

    process: subprocess.Popen[str]
    log: Path
    kills: int  # of all processes, for lack of memory, when it was started
    silent: float = 0.0  # seconds that were waited for it since it last said something
    hung: bool = False  # and was ended for that


class Processes:
    """Each job in a process of its own, so that a crash, or a hang, costs one cohort.

    `inherited` are descriptors that stay open in the workers: a lock that holds while one of them
    lives. A worker that says nothing for `patience` seconds is ended.
    """

    def __init__(
        self,
        devices: Sequence[str],
        logs: Path,
        inherited: Sequence[int] = (),
        patience: float = PATIENCE,
    ) -> None:
        self.devices = list(devices)
        self.patience = patience
        self._logs, self._inherited = logs, tuple(inherited)
        self._events: queue.Queue[tuple[int, Event]] = queue.Queue()
        self._running: dict[int, Worker] = {}

    def start(self, slot: int, job: Job) -> None:
        """Start a worker; what it prints goes to `logs/<job>.log`."""
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{job.id}.log"
        log.unlink(missing_ok=True)
        with log.open("x") as errors:  # never through a link
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.execution.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                pass_fds=self._inherited,
                start_new_session=True,  # Ctrl-C is for the parent, which stops its workers
            )
        worker = self._running[slot] = Worker(process, log, _kills())
        threading.Thread(target=self._talk, args=(slot, worker, job), daemon=True).start()

    def next(self) -> tuple[int, Event]:
        """The next event of any worker; those that hang are ended meanwhile."""
        while True:
            begun = time.monotonic()
            try:
                slot, event = self._events.get(timeout=TICK)
            except queue.Empty:
                self._waited(TICK)
                continue
            if event["event"] == "exit":
                del self._running[slot]
            else:
                self._running[slot].silent = 0.0
            self._waited(min(TICK, time.monotonic() - begun))
            if event["event"] != "alive":
                return slot, event

    def stop(self) -> None:
        """End all workers at once: their runs go on from the last epoch, whatever ended them."""
        for worker in self._running.values():
            _kill(worker.process)
        end = time.monotonic() + GRACE
        for worker in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a disk, say
                worker.process.wait(max(0.0, end - time.monotonic()))

    def _waited(self, seconds: float) -> None:
        """Count what was waited for each; not what went by while nobody listened to them."""
        for worker in self._running.values():
            worker.silent += seconds
            if worker.silent > self.patience and not worker.hung:
                worker.hung = True
                _kill(worker.process)

    def _talk(self, slot: int, worker: Worker, job: Job) -> None:
        """Tell the worker its job, and hear it to its end; all the while its input stays open."""
        process = worker.process
        with contextlib.suppress(BrokenPipeError), process:  # afterwards its pipes are closed
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(job.to_json() + "\n")
            process.stdin.flush()
            for line in process.stdout:
                with contextlib.suppress(json.JSONDecodeError):  # a line that a kill cut short
                    self._events.put((slot, json.loads(line)))
        reason = _reason(process.returncode, worker.log)
        if worker.hung:
            reason = f"its worker said nothing for {self.patience:g} s (see {worker.log})"
        elif process.returncode == -signal.SIGKILL and _kills() > worker.kills:
            said = "out of memory: the system ended the worker"
            self._events.put((slot, {"event": "split", "reason": said}))
        self._events.put((slot, {"event": "exit", "reason": reason}))


def _kill(process: subprocess.Popen[str]) -> None:
    """End a worker with all that it started: it leads a group of its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _kills() -> int:
    """How many processes the system has killed for lack of memory; 0 where it does not tell."""
    try:
        found = re.search(r"^oom_kill (\d+)$", KILLS.read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _reason(code: int, log: Path) -> str | None:
    """Why a worker ended, in a sentence; None if it ended well."""
    if code == 0:
        return None
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    told = log.read_text(errors="replace") if log.exists() else ""
    lines = [line for line in told.splitlines() if line.strip()]
    last = f": {lines[-1].strip()}" if lines else ""
    return f"its worker ended {how}{last} (see {log})"
