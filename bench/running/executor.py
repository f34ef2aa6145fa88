"""Where jobs are worked on: the seam between the runner and machines."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.job import Event, Job
from bench.running.worker import work

GRACE = 5.0  # seconds that a worker has to end when it is told to


class Executor(Protocol):
    """Slots, each of which works on one job at a time."""

    @property
    def devices(self) -> Sequence[str]:
        """The device of each slot."""

    def start(self, slot: int, job: Job) -> None:
        """Begin a job on a free slot."""

    def next(self) -> tuple[int, Event]:
        """The next event of any slot, waited for; `exit` with its `reason` ends a job."""

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
        """The next event of the jobs that were started."""
        return 0, self._events.popleft()

    def stop(self) -> None:
        """Nothing runs beside the caller."""


class Processes:
    """Each job in a process of its own, so that a crash costs one cohort."""

    def __init__(self, devices: Sequence[str], logs: Path) -> None:
        self.devices = list(devices)
        self._logs = logs
        self._events: queue.Queue[tuple[int, Event]] = queue.Queue()
        self._running: dict[int, subprocess.Popen[str]] = {}

    def start(self, slot: int, job: Job) -> None:
        """Start a worker; what it prints goes to `logs/<job>.log`."""
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{job.id}.log"
        with log.open("w") as errors:
            worker = subprocess.Popen(
                [sys.executable, "-m", "bench.running.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the parent, which stops its workers
            )
        self._running[slot] = worker
        threading.Thread(target=self._listen, args=(slot, worker, log), daemon=True).start()
        assert worker.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then its exit says why
            worker.stdin.write(job.to_json() + "\n")
            worker.stdin.flush()

    def next(self) -> tuple[int, Event]:
        """The next event of any worker."""
        return self._events.get()

    def stop(self) -> None:
        """End all workers: asked first, killed if they do not."""
        for worker in self._running.values():
            worker.terminate()
        for worker in self._running.values():
            try:
                worker.wait(GRACE)
            except subprocess.TimeoutExpired:
                worker.kill()

    def _listen(self, slot: int, worker: subprocess.Popen[str], log: Path) -> None:
        with worker:  # afterwards its pipes are closed
            assert worker.stdout is not None
            for line in worker.stdout:
                with contextlib.suppress(json.JSONDecodeError):  # a line that a kill cut short
                    self._events.put((slot, json.loads(line)))
        code = worker.returncode
        self._events.put((slot, {"event": "exit", "reason": _reason(code, log)}))


def _reason(code: int, log: Path) -> str | None:
    """Why a worker ended, in a sentence; None if it ended well."""
    if code == 0:
        return None
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = f": {lines[-1].strip()}" if lines else ""
    return f"its worker ended {how}{last} (see {log})"
