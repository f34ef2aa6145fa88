"""Executors for this machine, which run jobs in worker processes or in the current process."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.execution.executors.forking import ForkedProcess
from bench.execution.protocol import Event, Job, parse_events

HEARTBEAT_TIMEOUT_S = 1800.0  # a worker without an event for this time is treated as hung
KILL_TIMEOUT_S = 3.0  # longest wait for the end of killed workers
CHECK_INTERVAL_S = 1.0  # pause between two checks for hung workers
WORKER = (sys.executable, "-P", "-m", "bench.execution.worker")
OOM_KILL_COUNTER = Path("/proc/vmstat")  # Linux counts out-of-memory kills here


Process = subprocess.Popen[str] | ForkedProcess


class InlineExecutor:
    """One slot in the current process, for debugging; a crash of a job ends this process.

    Args:
        device: Device of the jobs, such as `cuda:0`.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.devices = [device]
        self._events: deque[Event] = deque()

    def start(self, slot: int, job: Job) -> None:
        """Run the job to its end; keep its events for `next`."""
        from bench.execution.worker import run_job  # imports torch

        run_job(job, self._events.append)
        self._events.append({"event": "exit", "reason": None})

    def next(self) -> tuple[int, Event]:
        """Return slot 0 and the next event of the job."""
        return 0, self._events.popleft()

    def stop(self) -> None:
        """Do nothing, because `start` has already run the job to its end."""


@dataclass
class Worker:
    """A running worker process."""

    process: Process
    log: Path
    oom_kills: int  # `_oom_kills()` when the worker started
    silent_s: float = 0.0  # seconds that `next` has waited since the worker's last event
    hung: bool = False  # whether it was killed because it sent no event for too long


class ProcessExecutor:
    """Runs each job in a worker process, so that a crash or a hang affects only one cohort.

    Args:
        devices: The device of each slot.
        logs: Folder for the workers' log files.
        inherited: File descriptors that workers inherit. A lock on such a file is held until the
            workers have ended.
        timeout_s: Seconds without an event after which a worker is killed.
        server: Socket to a process that forks workers (`forking.WorkerServer`); None: each worker
            is a new process that imports everything.
    """

    def __init__(
        self,
        devices: Sequence[str],
        logs: Path,
        inherited: Sequence[int] = (),
        timeout_s: float = HEARTBEAT_TIMEOUT_S,
        server: socket.socket | None = None,
    ) -> None:
        self.devices = list(devices)
        self.timeout_s = timeout_s
        self._logs, self._inherited, self._server = logs, tuple(inherited), server
        self._events: queue.Queue[tuple[int, Event | Exception]] = queue.Queue()
        self._workers: dict[int, Worker] = {}

    def start(self, slot: int, job: Job) -> None:
        """Start a worker, whose output goes to `<logs>/<job id>.log`."""
        line = job.to_json()
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{job.id}.log"
        log.unlink(missing_ok=True)
        with log.open("x") as errors:  # the mode x refuses a symbolic link
            process = self._start_process(errors.fileno())
        worker = self._workers[slot] = Worker(process, log, _oom_kills())
        threading.Thread(target=self._watch, args=(slot, worker, line), daemon=True).start()

    def _start_process(self, errors: int) -> Process:
        """Start a worker that writes its standard error to the file `errors`."""
        if self._server is not None:
            try:
                return ForkedProcess(self._server, errors, self._inherited)
            except OSError:  # for example, somebody killed the server
                self._server = None
        return subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            pass_fds=self._inherited,
            start_new_session=True,  # Ctrl-C reaches only the parent, which stops workers
        )

    def next(self) -> tuple[int, Event]:
        """Return the slot and the next event of any worker; kill workers that hang.

        An exception in the thread that watches a worker is a bug, and is raised here.
        """
        while True:
            start = time.monotonic()
            try:
                slot, event = self._events.get(timeout=CHECK_INTERVAL_S)
            except queue.Empty:
                self._kill_hung(CHECK_INTERVAL_S)
                continue
            if isinstance(event, Exception):
                raise event
            if event["event"] == "exit":
                del self._workers[slot]
            else:
                self._workers[slot].silent_s = 0.0
            self._kill_hung(min(CHECK_INTERVAL_S, time.monotonic() - start))
            if event["event"] != "heartbeat":
                return slot, event

    def stop(self) -> None:
        """Kill all workers; wait at most `KILL_TIMEOUT_S` until all have ended."""
        for worker in self._workers.values():
            _kill(worker.process)
        deadline = time.monotonic() + KILL_TIMEOUT_S
        for worker in self._workers.values():
            with suppress(subprocess.TimeoutExpired):  # a worker that waits for a disk ends later
                worker.process.wait(max(0.0, deadline - time.monotonic()))

    def _kill_hung(self, waited_s: float) -> None:
        """Kill workers whose events `next` has awaited for more than `timeout_s`."""
        for worker in self._workers.values():
            worker.silent_s += waited_s
            if worker.silent_s > self.timeout_s and not worker.hung:
                worker.hung = True
                _kill(worker.process)

    def _watch(self, slot: int, worker: Worker, line: str) -> None:
        """Queue the events of a worker and its end; if this fails, queue the exception."""
        try:
            self._communicate(slot, worker, line)
            self._end(slot, worker)
        except Exception as error:
            self._events.put((slot, error))

    def _communicate(self, slot: int, worker: Worker, line: str) -> None:
        """Send the job to the worker, and queue the worker's events until the worker ends.

        The worker's standard input stays open until then, because a closed standard input ends the
        worker.
        """
        process = worker.process
        with suppress(BrokenPipeError), process:  # closes the pipes at the end
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()
            for event in parse_events(process.stdout):
                self._events.put((slot, event))

    def _end(self, slot: int, worker: Worker) -> None:
        """Queue the last events of a worker that has ended."""
        process = worker.process
        reason = _exit_reason(process.wait(), worker.log)
        if worker.hung:
            reason = f"its worker sent no event for {self.timeout_s:g} s (see {worker.log})"
        elif process.returncode == -signal.SIGKILL and _oom_kills() > worker.oom_kills:
            message = "out of memory: the system killed the worker"
            self._events.put((slot, {"event": "split", "reason": message}))
        self._events.put((slot, {"event": "exit", "reason": reason}))


def stream_events(job: Job, timeout_s: float) -> Iterator[Event]:
    """Run a job in a worker process of this machine, and yield its events.

    The worker is killed if the caller closes the iterator before the last event.

    Args:
        job: The job.
        timeout_s: Seconds without an event after which the worker is killed.
    """
    executor = ProcessExecutor([job.device], Path(job.results) / "logs", timeout_s=timeout_s)
    executor.start(0, job)
    try:
        while True:
            _, event = executor.next()
            yield event
            if event["event"] == "exit":
                return
    finally:
        executor.stop()


def _kill(process: Process) -> None:
    """Kill a worker and its children, which are in its process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _oom_kills() -> int:
    """Return how many processes Linux has killed because memory ran out; 0 if unknown."""
    with suppress(OSError):
        if count := re.search(r"^oom_kill (\d+)$", OOM_KILL_COUNTER.read_text(), re.M):
            return int(count[1])
    return 0


def _exit_reason(code: int, log: Path) -> str | None:
    """Return why a worker ended, with the last line of its log; None after success."""
    if code == 0:
        return None
    ending = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    last_line = f": {text.splitlines()[-1].strip()}" if text else ""
    return f"its worker {ending}{last_line} (see {log})"
