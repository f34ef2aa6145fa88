"""Two commands on one results folder: the second says who holds it, and the kernel forgets."""

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
from bench.results import Results
from bench.results.files import Held, locked
from tests import toy
from tests.command import ROOT, bench, wrong
from tests.faults.commands import Commands, gone
from tests.faults.conftest import LINES

HOLD = """
import sys, time
from pathlib import Path
from bench.results.files import locked

with locked(Path(sys.argv[1])) as held:
    if len(sys.argv) > 2:  # a child that inherits the lock, and lives on
        import subprocess
        print(subprocess.Popen(["sleep", "60"], pass_fds=[held]).pid, flush=True)
    else:
        print("held", flush=True)
    sys.stdin.read()
"""
COUNT = """
import sys
from pathlib import Path
from bench.results.files import locked

lock, number = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(50):
    with locked(lock, 60):
        found = int(number.read_text())
        number.write_text("")
        number.write_text(str(found + 1))
"""


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process; it is killed in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as made:  # fmt: skip
        yield made
        made.kill()


def said(of: subprocess.Popen[str]) -> str:
    assert of.stdout is not None
    return of.stdout.readline().strip()


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with process(HOLD, path) as holder:
        assert said(holder) == "held"
        name = f"process {holder.pid} on {socket.gethostname()}"
        with pytest.raises(Held, match=f"{path}: held by {name}") as caught, locked(path):
            pass
        assert caught.value.holder == name
        begun = time.monotonic()
        with pytest.raises(Held), locked(path, 0.3):
            pass
        assert time.monotonic() - begun >= 0.3
        assert holder.stdin is not None
        holder.stdin.close()
        with locked(path, 10.0):
            assert path.exists()
    assert not path.exists()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process(HOLD, path) as holder:
        assert said(holder) == "held"
        holder.kill()
        holder.wait()
        assert path.exists(), "what it left tells nothing"
        with locked(path):
            pass


def test_whoever_inherits_a_lock_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    monkeypatch.setattr("bench.results.files.ORPHANS", 0.3)
    with process(HOLD, path, "child") as holder:
        child = int(said(holder))
        holder.kill()
        holder.wait()
        with pytest.raises(Held, match="by a worker of process .*, which has ended"), locked(path):
            pass
        os.kill(child, signal.SIGKILL)
        monkeypatch.setattr("bench.results.files.ORPHANS", 10.0)
        with locked(path):
            pass


def test_nothing_is_lost_between_many_that_take_turns(tmp_path: Path) -> None:
    """The file of the lock is removed and made again all the time."""
    number = tmp_path / "number"
    number.write_text("0")
    made = [
        subprocess.Popen([sys.executable, "-c", COUNT, tmp_path / "lock", number], cwd=ROOT)
        for _ in range(6)
    ]
    assert [one.wait(120) for one in made] == [0] * 6
    assert number.read_text() == "300"
    assert not (tmp_path / "lock").exists()


def test_a_second_command_says_who_holds_the_folder(
    here: Path, undisturbed: tuple[Plan, Results], taught: Results
) -> None:
    """Of the same suite, or of another one; those that only read go on."""
    toy.write(here, **LINES)
    with process(HOLD, taught.folder / ".lock") as holder:
        assert said(holder) == "held"
        name = f"process {holder.pid} on {socket.gethostname()}"
        for verb in ("run", "run --overwrite always", "run --set recipe.epochs=1"):
            told = wrong(bench(*verb.split(), "toy.yaml", "--inline"))
            assert told.startswith(f"results: {name} is at work there; wait until it has ended")
        assert "1 done, 3 to do" in bench("status", "toy.yaml").stdout
        assert bench("report", "toy.yaml").exit_code == 0
        assert bench("plan", "toy.yaml").exit_code == 0
    assert bench("run", "toy.yaml", "--inline", "--tracker", "none").exit_code == 0
    assert not (taught.folder / ".lock").exists()


def test_nothing_is_removed_from_a_folder_that_is_held(here: Path) -> None:
    part = here / "results" / "state" / ".a.pt.1.part"
    part.parent.mkdir(parents=True)
    part.touch()
    with process(HOLD, here / "results" / ".lock") as holder:
        assert said(holder) == "held"
        assert "would remove results/state/.a.pt.1.part" in bench("clean").stdout
        told = wrong(bench("clean", "--yes"))
        assert told.startswith(
            f"results: process {holder.pid} on {socket.gethostname()} is at work"
        )
        assert part.exists()
    assert bench("clean", "--yes").exit_code == 0
    assert not part.exists()


def test_a_command_in_two_threads_of_one_process(
    undisturbed: tuple[Plan, Results], taught: Results
) -> None:
    with (
        taught.lock(),
        pytest.raises(Held, match=f"process {os.getpid()} on .* is at work there"),
    ):
        api.execute(undisturbed[0], taught, Machine(gpus=(), inline=True))


def test_the_next_command_waits_for_the_workers_of_a_killed_one(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that does not see its parent's end keeps the folder: nothing is done twice."""
    toy.write(tmp_path, recipe="{epochs: 100000, batch_size: 16}", teachers="{}")
    commands.start("run", "toy.yaml", "--tracker", "none", "--json", "--workers", 1)
    assert commands.until(lambda: commands.workers)
    (worker,) = commands.workers
    os.kill(worker, signal.SIGSTOP)
    os.kill(commands.pid, signal.SIGKILL)
    commands.end()
    results = Results(tmp_path / "results")
    monkeypatch.setattr("bench.results.files.ORPHANS", 0.3)
    with pytest.raises(Held, match="a worker of process"), results.lock():
        pass
    os.kill(worker, signal.SIGKILL)
    monkeypatch.setattr("bench.results.files.ORPHANS", 5.0)
    with results.lock():
        assert gone([worker], 0.0)
