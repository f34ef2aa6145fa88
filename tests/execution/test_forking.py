"""Workers that a command's server forks: kills, ends, files, and a server that is missing."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.results.files import locked
from tests import toy
from tests.command import ROOT, children, gone, process

ENDLESS = {"recipe": "{epochs: 100000, batch_size: 16}", "teachers": "{}", "methods": "[student]"}
RUN = ("run", "toy.yaml", "--tracker", "none", "--json", "--workers", 1, "--results", "r")


class Command:
    """A `bench run` in a process of its own, and its events."""

    def __init__(self, folder: Path, **lines: str) -> None:
        toy.write(folder, **lines)
        self.process = process(folder, *RUN)
        self.events: list[dict[str, Any]] = []

    def read_until(self, accept: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read events until one is accepted; return it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if accept(self.events[-1]):
                return self.events[-1]
        raise AssertionError(self.process.communicate()[1])

    def server_and_worker(self) -> tuple[int, int]:
        """Wait for an epoch; return the ids of the server and of its only worker."""
        self.read_until(lambda event: event["event"] == "epoch")
        (server,) = children(self.process.pid)
        (worker,) = children(server)
        return server, worker


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Command]:
    """A command whose teacher trains until it is killed."""
    command = Command(tmp_path, **ENDLESS)
    yield command
    command.process.kill()
    command.process.communicate()


def is_notice(event: dict[str, Any]) -> bool:
    return event["event"] == "notice"


def test_killed_worker_is_replaced_and_its_session_and_log_are_separate(endless: Command) -> None:
    server, worker = endless.server_and_worker()
    assert len({os.getsid(pid) for pid in (endless.process.pid, server, worker)}) == 3
    (log,) = Path(f"/proc/{endless.process.pid}/cwd").joinpath("r", "logs").glob("*.log")
    assert os.readlink(f"/proc/{worker}/fd/2") == str(log.resolve())
    os.kill(worker, signal.SIGKILL)
    text = endless.read_until(is_notice)["text"]
    assert "its worker was killed by signal 9" in text
    again, other = endless.server_and_worker()
    assert again == server
    assert other != worker


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_server_and_worker_end_with_the_command(endless: Command, number: signal.Signals) -> None:
    pids = endless.server_and_worker()
    os.kill(pids[1], signal.SIGSTOP)  # it cannot end by itself
    endless.process.send_signal(number)
    assert gone([endless.process.pid, *pids], 20.0)


def test_lock_is_held_until_the_worker_has_ended(endless: Command, tmp_path: Path) -> None:
    server, worker = endless.server_and_worker()
    os.kill(server, signal.SIGSTOP)  # it cannot kill the worker
    os.kill(worker, signal.SIGSTOP)
    endless.process.kill()
    endless.process.wait()
    with (tmp_path / "r" / ".lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(server, signal.SIGCONT)
    assert gone([server, worker], 20.0)
    with locked(tmp_path / "r" / ".lock", 20.0):  # the last thread of a worker may end late
        pass


@pytest.mark.slow
def test_command_goes_on_without_its_server(endless: Command) -> None:
    server, worker = endless.server_and_worker()
    os.kill(server, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    assert "the next attempt resumes" in endless.read_until(is_notice)["text"]
    endless.read_until(lambda event: event["event"] == "epoch")
    command = Path(f"/proc/{children(endless.process.pid)[-1]}/cmdline").read_bytes()
    assert b"bench.execution.worker" in command


@pytest.mark.slow
def test_numbers_are_those_of_workers_without_a_server(tmp_path: Path) -> None:
    records = []
    for name, server in (("forked", "WorkerServer()"), ("started", "None")):
        (folder := tmp_path / name).mkdir()
        plan = toy.plan(folder)
        code = (
            "import sys; from pathlib import Path; from bench import api; "
            "from bench.execution.executors.forking import WorkerServer; "
            "from bench.results import Results; "
            f"machine = api.Machine(gpus=(), workers=1, server={server}); "
            "api.execute(api.load_plan('toy.yaml'), Results(Path('results')), machine); "
            f"assert ('bench.execution.worker' in sys.modules) == {server != 'None'}"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)
        results = toy.Results(folder / "results")
        records.append([toy.numbers(results.record(run)) for run in plan.runs])
    assert records[0] == records[1]


def test_process_with_threads_is_not_forked() -> None:
    code = (
        "import threading; "
        "threading.Thread(target=threading.Event().wait, daemon=True).start(); "
        "from bench.execution.executors.forking import WorkerServer; "
        "assert WorkerServer().connect() is None"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
