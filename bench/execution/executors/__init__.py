"""Executors run jobs on this machine or on a cluster; `Executor` is their interface."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from bench.errors import BenchError
from bench.execution.protocol import Event, Job


class Executor(Protocol):
    """A set of slots. Each slot runs one job (a cohort's runs) at a time."""

    @property
    def devices(self) -> Sequence[str]:
        """The device of each slot."""

    def start(self, slot: int, job: Job) -> None:
        """Start a job on a free slot."""

    def next(self) -> tuple[int, Event]:
        """Wait for the next event of any job; return its slot and the event.

        The last event of a job is `exit`, even after a crash. An executor kills a hung job if the
        executor can detect the hang.
        """

    def stop(self) -> None:
        """Kill all jobs; the runs can resume later from their checkpoints."""


def import_extra(package: str, extra: str) -> Any:
    """Import and return the package that an executor needs.

    Args:
        package: Name of the package.
        extra: Name of the executor and of the extra of distillbench that installs the package.

    Raises:
        BenchError: The package is not installed; the message contains the command to install.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise BenchError(
            f"--executor {extra}: {error}. To install: pip install 'distillbench[{extra}]'"
        ) from error
