"""`bench` as a process that can be killed, again and again, and what is left of it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.execution.test_runner import alive, workers

ROOT = Path(__file__).parents[2]
SERVER = """
import json, os, sys
import bench.cli.run, bench.cli.sync, sklearn.datasets
from bench.cli.app import main

for line in sys.stdin:
    asked = json.loads(line)
    if (pid := os.fork()) == 0:
        os.chdir(asked["folder"])
        os.environ.update(asked["environment"])
        out = os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.argv = ["bench", *asked["arguments"]]
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def server() -> subprocess.Popen[str]:
    """A process that has imported all there is, and forks into commands."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER], text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


class Commands:
    """Runs `bench` in a folder, one command at a time, without the seconds that imports take."""

    def __init__(self, folder: Path, server: subprocess.Popen[str]) -> None:
        self._folder, self._out, self._server = folder, folder / "out", server

    def start(self, *arguments: object, **environment: str) -> None:
        """Begin a command; `pid` is its process."""
        self._out.unlink(missing_ok=True)
        asked: dict[str, Any] = {"folder": str(self._folder), "environment": environment}
        asked["arguments"] = [*map(str, arguments)]
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        self.pid = int(self._line())
        self.code: int | None = None
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()

    def end(self, seconds: float = 300.0) -> int:
        """The exit code, waited for; that of a killed one is minus the signal's number."""
        self._waiter.join(seconds)
        assert self.code is not None, f"still there after {seconds} s:\n{self.said}"
        return self.code

    @property
    def said(self) -> str:
        """All that was printed so far."""
        return self._out.read_text() if self._out.exists() else ""

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was printed with --json."""
        lines = self.said.rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def until(self, happened: Callable[[], Any], seconds: float = 300.0) -> bool:
        """Wait until something has happened, or the command has ended; whether it has happened."""
        end = time.monotonic() + seconds
        while not happened():
            if self.code is not None or time.monotonic() > end:
                return bool(happened())
            time.sleep(0.01)
        return True

    @property
    def workers(self) -> list[int]:
        """The command's workers."""
        return workers(self.pid)

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def _wait(self) -> None:
        self.code = int(self._line())


def granted(seconds: float) -> float:
    """What to grant, beside all that runs here, for what takes so many seconds at rest."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def gone(pids: list[int], seconds: float) -> bool:
    """Whether these processes are gone within so many seconds."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
