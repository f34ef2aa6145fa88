"""What engines of clusters have in common: one job on one of their nodes, and what it says."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.execution.executors.local import Processes
from bench.execution.protocol import Event, Job


def installed(package: str, extra: str) -> Any:
    """The package of an engine; BenchError that says what to install where it is not there."""
    try:
        return import_module(package)
    except ImportError as error:
        raise BenchError(
            f"--executor {extra}: {error}. Install it with pip install 'distillbench[{extra}]'"
        ) from error


def worked(job: Job, patience: float) -> Iterator[Event]:
    """The events of a job that a worker of this machine does, `exit` the last.

    The worker ends when the caller does, or no longer listens.
    """
    executor = Processes([job.device], Path(job.results) / "logs", patience=patience)
    executor.start(0, job)
    try:
        while True:
            _, event = executor.next()
            yield event
            if event["event"] == "exit":
                return
    finally:
        executor.stop()


def without(job: Job, ended: set[str]) -> Job:
    """The job that is left once these runs have their records."""
    return replace(job, tasks=tuple(task for task in job.tasks if task.id not in ended))
