"""`bench` as a process that is killed at any time."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.command import ROOT, workers

SERVER = """
import json, os, sys
import bench.api, bench.planning.estimate, bench.report.build, sklearn.datasets
from bench.cli.app import main

for line in sys.stdin:
    command = json.loads(line)
    if (pid := os.fork()) == 0:
        os.chdir(command["folder"])
        os.environ.update(command["environment"])
        out = os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.argv = ["bench", *command["arguments"]]
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
    """Start a process that has imported all packages and forks into commands."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER], text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


class Commands:
    """Runs `bench` in a folder, one command at a time, without the time that imports take."""

    def __init__(self, folder: Path, server: subprocess.Popen[str]) -> None:
        self._folder, self._out, self._server = folder, folder / "out", server

    def start(self, *arguments: object, **environment: str) -> None:
        """Start a command; `pid` is its process."""
        self._out.unlink(missing_ok=True)
        command: dict[str, Any] = {"folder": str(self._folder), "environment": environment}
        command["arguments"] = [*map(str, arguments)]
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        self.pid = int(self._line())
        self.code: int | None = None
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()

    def end(self, timeout_s: float = 300.0) -> int:
        """Wait for the exit code; that of a killed command is minus the signal's number."""
        self._waiter.join(timeout_s)
        assert self.code is not None, f"still running after {timeout_s} s:\n{self.output}"
        return self.code

    @property
    def output(self) -> str:
        """All that was printed so far."""
        return self._out.read_text() if self._out.exists() else ""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that were printed with --json."""
        lines = self.output.rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 300.0) -> bool:
        """Wait until a condition holds or the command has ended; return whether it holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self.code is not None or time.monotonic() > deadline:
                return bool(condition())
            time.sleep(0.01)
        return True

    @property
    def workers(self) -> list[int]:
        """The process ids of the command's workers."""
        return workers(self.pid)

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def _wait(self) -> None:
        self.code = int(self._line())


def scaled(seconds: float) -> float:
    """Scale a time limit by the load of this machine."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
