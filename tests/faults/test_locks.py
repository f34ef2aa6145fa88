"""Two commands in one results folder: the second names the first; a kill releases the lock."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.planning.plan import Plan
from bench.results import LockHeld, Results
from bench.results.files import locked
from tests import toy
from tests.command import ROOT, bench, gone, wrong
from tests.faults.commands import Commands
from tests.faults.conftest import LINES

HOLD = """
import sys, time
from pathlib import Path
from bench.results.files import locked

with locked(Path(sys.argv[1])) as descriptor:
    if len(sys.argv) > 2:  # a child that inherits the lock, and survives
        import subprocess
        print(subprocess.Popen(["sleep", "60"], pass_fds=[descriptor]).pid, flush=True)
    else:
        print("locked", flush=True)
    sys.stdin.read()
"""
COUNT = """
import sys
from pathlib import Path
from bench.results.files import locked

lock, number = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(50):
    with locked(lock, 60):
        value = int(number.read_text())
        number.write_text("")
        number.write_text(str(value + 1))
"""


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a Python process; kill it at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as python:  # fmt: skip
        yield python
        python.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Read a line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def name(process: subprocess.Popen[str]) -> str:
    """Return the name of a holder in messages."""
    return f"process {process.pid} on {socket.gethostname()}"


def test_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with process(HOLD, path) as holder:
        assert line(holder) == "locked"
        with pytest.raises(LockHeld, match=f"{path}: locked by {name(holder)}. "), locked(path):
            pass
        start = time.monotonic()
        with pytest.raises(LockHeld), locked(path, 0.3):
            pass
        assert time.monotonic() - start >= 0.3
        assert holder.stdin is not None
        holder.stdin.close()
        with locked(path, 10.0):
            assert path.exists()
    assert not path.exists()


def test_kill_releases_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process(HOLD, path) as holder:
        assert line(holder) == "locked"
        holder.kill()
        holder.wait()
        assert path.exists()
        with locked(path):
            pass


def test_process_that_inherits_a_lock_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    monkeypatch.setattr("bench.results.files.ORPHAN_TIMEOUT_S", 0.3)
    with process(HOLD, path, "child") as holder:
        child = int(line(holder))
        holder.kill()
        holder.wait()
        message = "by a worker of process .*, which has ended"
        with pytest.raises(LockHeld, match=message), locked(path):
            pass
        os.kill(child, signal.SIGKILL)
        monkeypatch.setattr("bench.results.files.ORPHAN_TIMEOUT_S", 10.0)
        with locked(path):
            pass


def test_lock_loses_no_update_of_many_processes(tmp_path: Path) -> None:
    """The lock file is removed and created again all the time."""
    number = tmp_path / "number"
    number.write_text("0")
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNT, tmp_path / "lock", number], cwd=ROOT)
        for _ in range(6)
    ]
    assert [process.wait(120) for process in processes] == [0] * 6
    assert number.read_text() == "300"
    assert not (tmp_path / "lock").exists()


def test_second_command_names_the_first_and_reading_verbs_work(
    here: Path, undisturbed: tuple[Plan, Results], with_teacher: Results
) -> None:
    toy.write(here, **LINES)
    with process(HOLD, with_teacher.folder / ".lock") as holder:
        assert line(holder) == "locked"
        for verb in ("run", "run --overwrite always", "run --set recipe.epochs=1"):
            message = wrong(bench(*verb.split(), "toy.yaml", "--inline"))
            assert message.startswith(
                f"results/.lock: locked by {name(holder)}. Wait until the lock"
            )
        assert "1 done, 3 to do" in bench("status", "toy.yaml").stdout
        assert bench("report", "toy.yaml").exit_code == 0
        assert bench("plan", "toy.yaml").exit_code == 0
    assert bench("run", "toy.yaml", "--inline", "--tracker", "none").exit_code == 0
    assert not (with_teacher.folder / ".lock").exists()


def test_clean_removes_no_file_of_a_locked_folder(here: Path) -> None:
    part = here / "results" / "state" / ".a.safetensors.1.part"
    part.parent.mkdir(parents=True)
    part.touch()
    with process(HOLD, here / "results" / ".lock") as holder:
        assert line(holder) == "locked"
        assert "would remove results/state/.a.safetensors.1.part" in bench("clean").stdout
        assert wrong(bench("clean", "--yes")).startswith(f"results/.lock: locked by {name(holder)}")
        assert part.exists()
    assert bench("clean", "--yes").exit_code == 0
    assert not part.exists()


def test_second_command_of_the_same_process_is_refused(
    undisturbed: tuple[Plan, Results], with_teacher: Results
) -> None:
    with (
        with_teacher.lock(),
        pytest.raises(LockHeld, match=f"locked by process {os.getpid()} on "),
    ):
        api.execute(undisturbed[0], with_teacher, Machine(gpus=(), inline=True))


@pytest.mark.slow
def test_next_command_waits_for_the_workers_of_a_killed_one(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped worker, which cannot see its parent's end, holds the lock.

    The server of workers would kill it, so the server is stopped, too.
    """
    toy.write(tmp_path, recipe="{epochs: 100000, batch_size: 16}", teachers="{}")
    commands.start("run", "toy.yaml", "--tracker", "none", "--json", "--workers", 1)
    assert commands.wait_for(lambda: commands.workers)
    (worker,) = commands.workers
    server = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    for process in {server, worker} - {commands.pid}:
        os.kill(process, signal.SIGSTOP)
    os.kill(commands.pid, signal.SIGKILL)
    commands.end()
    results = Results(tmp_path / "results")
    monkeypatch.setattr("bench.results.files.ORPHAN_TIMEOUT_S", 0.3)
    with pytest.raises(LockHeld, match="a worker of process"), results.lock():
        pass
    for process in {server, worker} - {commands.pid}:
        os.kill(process, signal.SIGKILL)
    monkeypatch.setattr("bench.results.files.ORPHAN_TIMEOUT_S", 5.0)
    with results.lock():
        assert gone([worker], 0.0)
