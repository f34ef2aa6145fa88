"""The command line under test, in this process or in one of its own."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from bench.cli.app import app

ROOT = Path(__file__).parents[1]


def bench(*arguments: object, **environment: str) -> Result:
    """A command in this process; whatever it raises but an exit is raised here."""
    runner = CliRunner(env={"COLUMNS": "100", **environment})
    found = runner.invoke(app, [str(a) for a in arguments], prog_name="bench")
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def process(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """The same in a process of its own, in that folder."""
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.Popen(
        command, cwd=folder, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def wrong(found: Result) -> str:
    """What is said of a wrong use: on standard error alone, with exit code 2."""
    assert found.exit_code == 2
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
    return found.stderr.strip()
