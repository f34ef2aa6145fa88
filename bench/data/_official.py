"""Official archives by way of torchvision, which downloads and verifies them."""

import contextlib
import io
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

from bench.errors import MissingData

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")
SILENCE = 20.0  # seconds without an answer before a download is given up
FAILURES = (OSError, RuntimeError, ValueError, AssertionError, HTTPException)


def official(name: str, archive: str, root: Path, read: Callable[[bool], T]) -> T:
    """What `read(download)` returns: of the files under root, or after downloading them there.

    Raises MissingData, which names the archive and the folder, where neither works.
    """
    with quietly():
        with contextlib.suppress(*FAILURES):
            return read(False)
        try:
            with alone(root):
                return read(True)
        except FAILURES as error:
            raise missing(name, archive, root, f"downloading failed ({_last(error)})") from error


def missing(name: str, archive: str, root: Path, why: str) -> MissingData:
    """The error for an archive that is not there: what was looked for, where, and what to do."""
    return MissingData(
        f"{name}: no intact {archive} was found in {root.resolve()}, and {why}. Put it there, or "
        "name another folder with --data-root or BENCH_DATA"
    )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Nothing is printed inside, and no connection is waited for longer than `SILENCE`."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    nowhere = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Other processes that come here with the same root wait until this one has left."""
    fresh = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    lock = root / ".downloading"
    try:
        with lock.open("a") as file:  # "w" would empty what a link of that name leads to
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
    finally:
        lock.unlink(missing_ok=True)
        if fresh:
            _prune(root)


def _prune(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):  # not empty: something came
            os.rmdir(folder)


def _last(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
