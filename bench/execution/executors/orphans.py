"""Jobs of Slurm that outlive their command: known by its name for them, cancelled by the next one.

All jobs of a command bear one name that nobody can guess. It is noted in the results folder before
the first is submitted, and stays there until all have ended. A folder that was moved or copied
notes jobs that work where it was: they are left alone.
"""

import os
import re
import secrets
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.config.text import short
from bench.errors import BenchError
from bench.execution.executors.local import GRACE
from bench.results import Results
from bench.results.files import write_whole

NOTE = ".slurm"  # in the results folder: the name, and the folder in which the jobs work
LONGEST = 8192  # bytes of a note
NAME = re.compile(r"bench-[0-9a-f]{32}")
LEAVE = 90.0  # seconds in which Slurm ends what is cancelled: by itself it grants jobs 30
PAUSE = 1.0  # seconds between two looks at the queue


@dataclass(frozen=True)
class Jobs:
    """The jobs that one command submits."""

    folder: Path  # of its results, on all nodes
    name: str = field(default_factory=lambda: f"bench-{secrets.token_hex(16)}")

    def note(self) -> None:
        """Keep their name, before there is one."""
        write_whole(self.folder / NOTE, os.fsencode(f"{self.name}\n{self.folder}"))

    def forget(self) -> None:
        """Say that all have ended."""
        (self.folder / NOTE).unlink(missing_ok=True)

    def cancel(self) -> None:
        """Cancel all; not waited for longer than a killed worker is, nor broken off then.

        They stay noted: Slurm lets them end in their own time.
        """
        command = ["scancel", *_which(self.name)]
        left = subprocess.Popen(
            command,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            left.wait(GRACE)


def end(results: Results) -> None:
    """Cancel the jobs that a command left at work in a folder, and wait until they have ended.

    BenchError where that cannot be known. For whoever holds the folder's lock.
    """
    note = results.folder / NOTE
    if not note.is_file():
        return
    with note.open("rb") as file:
        name, _, folder = os.fsdecode(file.read(LONGEST)).partition("\n")
    if not NAME.fullmatch(name):
        raise BenchError(
            f"{note}: found the text '{short(name)}'. Allowed: the name of jobs of Slurm, as "
            "`bench run` gives it. Remove the file once none is at work in that folder"
        )
    if _same(Path(folder), results.folder) and (why := _at_work(name)):
        raise BenchError(
            f"{results.folder}: jobs of Slurm named {name} may still be at work there: {why}. "
            f"Where Slurm is, `scancel --name={name}` ends them; remove {note} once "
            f"`squeue --name={name}` shows none"
        )
    note.unlink()


def asked(*command: str) -> subprocess.CompletedProcess[str]:
    """What a command of Slurm answers, whatever the environment would have it leave out."""
    try:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, env=_environment()
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"there is no {command[0]} here")


def _at_work(name: str) -> str:
    """Why jobs of this name may be at work although they were cancelled; empty if none is."""
    end = time.monotonic() + LEAVE
    while True:
        found = asked("squeue", "--noheader", "--format=%A", *_which(name))
        if found.returncode:
            return found.stderr.strip()
        if not found.stdout.strip():
            return ""
        if time.monotonic() > end:
            return f"Slurm has not ended them in {LEAVE:g} s"
        asked("scancel", *_which(name))  # each time: one may have put itself back in the queue
        time.sleep(PAUSE)


def _which(name: str) -> tuple[str, str]:
    return f"--name={name}", f"--user={os.getuid()}"


def _environment() -> dict[str, str]:
    narrowing = ("SCANCEL_", "SQUEUE_")
    return {key: value for key, value in os.environ.items() if not key.startswith(narrowing)}


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError, ValueError):
        return one.samefile(other)
    return False
