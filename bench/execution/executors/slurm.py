"""The executor for a Slurm cluster, which submits each job as a Slurm job with submitit.

All nodes must share the results folder. A worker writes checkpoints and weights into this folder
itself. The Slurm job appends the worker's events to `slurm/<job>-<time>.events` there. The parent
process reads the events; only the parent writes records. A job that is pre-empted or reaches its
time limit is requeued, and its runs resume from their last checkpoints.

All Slurm jobs of a command have the same random name. The executor writes this name to `.slurm` in
the results folder before it submits the first job. It removes the file after the last job has
ended. If the command is killed, the next command in that folder cancels the jobs with this name.
"""

import json
import logging
import os
import re
import secrets
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.text import short
from bench.errors import BenchError
from bench.execution.cluster import SlurmOptions
from bench.execution.executors import import_extra
from bench.execution.executors.local import KILL_TIMEOUT_S, stream_events
from bench.execution.protocol import Event, Job, parse_events
from bench.results import Results, write_atomic

POLL_INTERVAL_S = 0.5  # pause between two reads of the event files
STATUS_INTERVAL_S = 30.0  # pause between two queries of a job's status
MAX_EMPTY_READS = 6  # reads after a job's end, because slow file systems deliver events late
CANCEL_TIMEOUT_S = 90.0  # longest wait for cancelled jobs; Slurm kills them after 30 s by default
CANCEL_INTERVAL_S = 1.0  # pause between two calls of scancel for the same jobs
NOTE = ".slurm"  # file in the results folder: the jobs' name and results folder
MAX_NOTE_BYTES = 8192
JOB_NAME = re.compile(r"bench-[0-9a-f]{32}")


@dataclass(frozen=True)
class SlurmTask:
    """The function that a Slurm job runs. Submitit pickles it, and calls it after each requeue."""

    job: Job
    events: Path
    timeout_s: float

    def __call__(self) -> None:
        """Run the tasks that have no record yet; append their events to the file."""
        records = (event.get("record") for event in _read(self.events)[0])
        job = self.job.without({record["id"] for record in records if record})
        with self.events.open("a", encoding="utf-8") as file:
            file.write("\n")  # ends a line that is incomplete after a kill
            for event in stream_events(job, self.timeout_s) if job.tasks else ():
                file.write(json.dumps(event) + "\n")
                file.flush()

    def checkpoint(self) -> Any:
        """Return this object for submitit to requeue; its runs then resume from checkpoints."""
        return import_extra("submitit", "slurm").helpers.DelayedSubmission(self)


@dataclass
class SlurmJob:
    """A job that was submitted to Slurm."""

    slurm: Any  # submitit's job
    events: Path
    bytes_read: int = 0  # length of the events read so far
    checked: float = 0.0  # monotonic time of the last query of the status
    empty_reads: int = 0  # reads without events since Slurm reported the job's end


class SlurmExecutor:
    """Runs each job as a Slurm job; jobs that start together are submitted as one job array.

    Args:
        options: The `slurm` section of the cluster file.
        results: The results folder, on a file system that all nodes share.
        timeout_s: Seconds without an event after which a worker is killed.
        cluster: Submitit's name for the kind of cluster. Tests use `local`, which runs jobs as
            processes on this machine.

    Raises:
        BenchError: Submitit or Slurm is not installed.
    """

    def __init__(
        self, options: SlurmOptions, results: Results, timeout_s: float, cluster: str = "slurm"
    ) -> None:
        submitit = import_extra("submitit", "slurm")
        logging.getLogger("submitit").setLevel(logging.ERROR)  # hides a warning per failed sacct
        self.devices: Sequence[str] = ["cuda" if options.gpus else "cpu"] * options.slots
        self._results, self._timeout_s = results.folder.resolve(), timeout_s
        self._folder = self._results / "slurm"
        limit = {f"{cluster}_max_num_timeout": options.requeues}
        try:
            self._engine = submitit.AutoExecutor(self._folder, cluster, **limit)
        except RuntimeError as error:
            raise BenchError(f"--executor slurm: {error} sbatch and srun are needed") from error
        self._name = f"bench-{secrets.token_hex(16)}"
        self._engine.update_parameters(
            name=self._name,
            timeout_min=options.minutes,
            cpus_per_task=options.cpus,
            gpus_per_node=options.gpus or None,
            mem_gb=options.memory,
            slurm_partition=options.partition,
            slurm_array_parallelism=options.slots,
            slurm_signal_delay_s=options.warning,
            slurm_additional_parameters=dict(options.sbatch),
            slurm_setup=[*options.setup],
        )
        os.environ.pop("SBATCH_JOB_NAME", None)  # sbatch would prefer this name to ours
        self._unsubmitted: dict[int, SlurmTask] = {}  # tasks by slot
        self.jobs: dict[int, SlurmJob] = {}  # submitted jobs by slot
        self._ready: deque[tuple[int, Event]] = deque()

    def start(self, slot: int, job: Job) -> None:
        """Keep a job; `next` submits all kept jobs together."""
        events = self._folder / f"{job.id}-{time.time_ns()}.events"
        self._unsubmitted[slot] = SlurmTask(job.absolute(), events, self._timeout_s)

    def next(self) -> tuple[int, Event]:
        """Submit the kept jobs; return the slot and the next event of any job."""
        self.submit()
        while not self._ready:
            for slot, job in [*self.jobs.items()]:
                self._receive(slot, job)
            if not self._ready:
                time.sleep(POLL_INTERVAL_S)
        return self._ready.popleft()

    def stop(self) -> None:
        """Cancel all running and pending jobs; if there are no jobs, remove `.slurm`."""
        if self.jobs or self._unsubmitted:
            cancel(self._name)
        else:
            (self._results / NOTE).unlink(missing_ok=True)

    def submit(self) -> None:
        """Submit the jobs that `start` kept, as one job array."""
        if not self._unsubmitted:
            return
        write_note(self._results, self._name)
        try:
            with self._engine.batch():
                jobs = {
                    slot: SlurmJob(self._engine.submit(task), task.events)
                    for slot, task in self._unsubmitted.items()
                }
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise BenchError(f"--executor slurm: sbatch refused a job: {error}") from error
        self.jobs |= jobs
        self._unsubmitted.clear()

    def _receive(self, slot: int, job: SlurmJob) -> None:
        """Read new events of a job; add `exit` if the job has ended without this event."""
        events, size = _read(job.events, job.bytes_read)
        job.bytes_read += size
        if not size and self._has_ended(job):
            events = [*self._last_events(job)]
        self._ready += [(slot, event) for event in events]
        if any(event["event"] == "exit" for event in events):
            del self.jobs[slot]

    def _has_ended(self, job: SlurmJob) -> bool:
        """Return whether Slurm has reported the job's end long enough for its last events."""
        if due := time.monotonic() - job.checked >= STATUS_INTERVAL_S:
            job.checked = time.monotonic()
        number = job.slurm.job_id
        if job.empty_reads or job.slurm.done(force_check=due) or due and _left_the_queue(number):
            job.empty_reads += 1
        return job.empty_reads > MAX_EMPTY_READS

    def _last_events(self, job: SlurmJob) -> Iterator[Event]:
        """Yield the last events of a job that has ended without writing them."""
        job.slurm.done(force_check=True)  # updates the state
        number, state = job.slurm.job_id, job.slurm.state
        if state.startswith("OUT_OF_ME"):
            yield {"event": "split", "reason": f"out of memory: Slurm killed its job {number}"}
        state = "UNKNOWN, because Slurm keeps no accounting" if state == "UNKNOWN" else state
        reason = f"its job {number} ended as {state} (see {job.slurm.paths.stderr})"
        if not job.bytes_read:
            reason += f"; it sent no event: do all nodes share {self._results}?"
        yield {"event": "exit", "reason": reason}


def cancel_orphans(results: Results) -> None:
    """Cancel the Slurm jobs that a killed command left running, and wait until they have ended.

    The jobs' name is in the file `.slurm`. If the results folder was moved or copied, that file
    names another folder. The jobs then work in the other folder and are not cancelled.

    Args:
        results: The results folder; the caller holds its lock.

    Raises:
        BenchError: Jobs may still run, or the content of `.slurm` is invalid.
    """
    note = results.folder / NOTE
    if not note.is_file():
        return
    with note.open("rb") as file:
        name, _, folder = os.fsdecode(file.read(MAX_NOTE_BYTES)).partition("\n")
    if not JOB_NAME.fullmatch(name):
        raise BenchError(
            f"{note}: found the text '{short(name)}'. Allowed: the name of Slurm jobs, as "
            "`bench run` writes it. Remove the file once no job works in that folder"
        )
    is_here = os.path.exists(folder) and os.path.samefile(folder, results.folder)
    if is_here and (reason := _cancel_and_wait(name)):
        raise BenchError(
            f"{results.folder}: Slurm jobs named {name} may still work there: {reason}. "
            f"Cancel them with `scancel --name={name}`; remove {note} once "
            f"`squeue --name={name}` lists no job"
        )
    note.unlink()


def write_note(folder: Path, name: str) -> None:
    """Write the jobs' name and the path of the results folder to `.slurm` in that folder."""
    write_atomic(folder / NOTE, os.fsencode(f"{name}\n{folder}"))


def cancel(name: str) -> None:
    """Cancel the jobs with a name; wait at most `KILL_TIMEOUT_S` for scancel to end.

    A slower scancel keeps running. The file `.slurm` stays, because the jobs may end later.
    """
    process = subprocess.Popen(
        ["scancel", *selector(name)],
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_TIMEOUT_S)


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a Slurm command, without environment variables that would make it skip jobs."""
    try:
        return subprocess.run(command, capture_output=True, text=True, env=_environment())
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"no command {command[0]} here")


def selector(name: str) -> tuple[str, str]:
    """Return the options with which squeue and scancel select this user's jobs with a name."""
    return f"--name={name}", f"--user={os.getuid()}"


def _cancel_and_wait(name: str) -> str:
    """Cancel the jobs with a name until all have ended; return '', or why some may still run."""
    deadline = time.monotonic() + CANCEL_TIMEOUT_S
    while True:
        listed = _call("squeue", "--noheader", "--format=%A", *selector(name))
        if listed.returncode:
            return listed.stderr.strip()
        if not listed.stdout.strip():
            return ""
        if time.monotonic() > deadline:
            return f"Slurm has not ended them within {CANCEL_TIMEOUT_S:g} s"
        _call("scancel", *selector(name))  # repeated, because a job may have requeued itself
        time.sleep(CANCEL_INTERVAL_S)


def _left_the_queue(number: str) -> bool:
    """Return whether squeue answers and does not list the job as pending or running."""
    listed = _call("squeue", "--noheader", "--format=%T", f"--jobs={number}")
    if listed.returncode:
        return "Invalid job id" in listed.stderr
    return not listed.stdout.strip()


def _environment() -> dict[str, str]:
    filters = ("SCANCEL_", "SQUEUE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(filters)}


def _read(path: Path, start: int = 0) -> tuple[list[Event], int]:
    """Return the events in the complete lines from byte `start` on, and the lines' total bytes."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            lines, end, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return [], 0
    return [*parse_events(lines.splitlines())], len(lines + end)
