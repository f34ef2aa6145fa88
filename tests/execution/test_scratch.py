"""Folders of processes that were killed are removed by the next one, and nothing else is."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.execution.protocol import Job
from bench.execution.runner import _task
from bench.execution.scratch import OWNER, PREFIX, scratch
from tests import toy
from tests.command import ROOT
from tests.execution.test_runner import workers
from tests.faults.commands import gone

HOLD = """
import sys
from bench.execution.scratch import scratch

with scratch() as folder:
    (folder / "weights").write_text("some")
    print(folder, flush=True)
    sys.stdin.read()
"""
PARCEL = """
import sys
from bench.execution.protocol import Job
from bench.execution.parcel import Parcel, done

job = Job.from_json(sys.argv[1])
for event, _ in done(Parcel(job, {}, None, None, (), None, 60.0, None, True), bytes):
    print(event["event"], flush=True)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, here and in all that is started."""
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return path


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def process(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def said(of: subprocess.Popen[str]) -> str:
    assert of.stdout is not None
    return of.stdout.readline().strip()


def test_what_a_killed_process_left_is_removed_and_nothing_else(
    place: Path, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    started += [process(HOLD), process(HOLD)]
    killed, alive = (Path(said(one)) for one in started)
    started[0].kill()
    started[0].wait()
    own = place / f"{PREFIX}checkout"
    own.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / OWNER).touch()
    link = place / f"{PREFIX}link"
    link.symlink_to(elsewhere)
    assert (killed / "weights").exists(), "it has no chance to remove it"
    with scratch() as folder:
        assert sorted(place.iterdir()) == sorted([alive, own, link, folder])
        assert (alive / "weights").exists()
        assert (elsewhere / OWNER).exists()
    assert not folder.exists()


def test_a_folder_of_another_user_is_not_touched(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place / f"{PREFIX}theirs"
    path.mkdir()
    (path / OWNER).symlink_to("/dev/null")
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    with scratch():
        assert path.exists()


def test_a_task_of_a_cluster_that_was_killed(
    place: Path, started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    whole = toy.plan(tmp_path, recipe="{epochs: 100000, batch_size: 16}", teachers="{}")
    task = _task(next(iter(whole.runs.values())), "t")
    job = Job("j", (task,), None, "cpu", 1, "", "digits", None).to_json()
    for _ in range(2):
        started.append(process(PARCEL, job))
        assert said(started[-1]) == "epoch"
        (folder,) = place.glob(f"{PREFIX}*")
        assert [*folder.glob("state/*.safetensors")]
        at_work = workers(started[-1].pid)
        started[-1].kill()
        assert gone(at_work, 10.0)
