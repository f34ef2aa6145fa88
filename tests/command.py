"""The command line under test, in this process or in one of its own; the processes it starts."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from typer.testing import CliRunner, Result

from bench.cli.app import app

ROOT = Path(__file__).parents[1]


def bench(*arguments: object, **environment: str) -> Result:
    """Run a command in this process; raise its exceptions, except for its exit."""
    runner = CliRunner(env={"COLUMNS": "100", **environment})
    result = runner.invoke(app, [*map(str, arguments)], prog_name="bench")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def printed(module: str, *arguments: object) -> list[str]:
    """Return the lines that a module prints as a command, which must succeed."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def process(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a command in a folder, as a process."""
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.Popen(
        command, cwd=folder, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def wrong(result: Result) -> str:
    """Return the message of a command that was used wrongly: on stderr, with exit code 2."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            pids.append(int(path.parent.name))
    return pids


def workers(pid: int) -> list[int]:
    """Return the ids of a command's workers: its children, or those of its server of workers."""
    commands = {child: Path(f"/proc/{child}/cmdline") for child in children(pid) if alive(child)}
    started = [
        id for id, path in commands.items() if b"bench.execution.worker" in path.read_bytes()
    ]
    return started + [worker for server in children(pid) for worker in children(server)]


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: Iterable[int], timeout_s: float) -> bool:
    """Return whether all processes end within a time."""
    deadline, pids = time.monotonic() + timeout_s, list(pids)
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
