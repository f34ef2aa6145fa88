"""Official archives, downloaded and verified by torchvision."""

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
NETWORK_TIMEOUT_S = 20.0  # without an answer, before a download is given up
FAILURES = (OSError, RuntimeError, ValueError, AssertionError, HTTPException)


def read_or_download(name: str, archive: str, root: Path, read: Callable[[bool], T]) -> T:
    """Read an archive from the data root; download it first if it is missing or damaged.

    Args:
        name: the data set's name, for messages.
        archive: the archive's file name, for messages.
        root: the data root.
        read: reads the archive; `read(True)` downloads it first.

    Raises:
        MissingData: both attempts failed; the message names the archive and the folder.

    """
    with without_output():
        with contextlib.suppress(*FAILURES):
            return read(False)
        try:
            with download_lock(root):
                return read(True)
        except FAILURES as error:
            reason = f"downloading failed ({_last_line(error)})"
            raise missing_archive(name, archive, root, reason) from error


def missing_archive(name: str, archive: str, root: Path, reason: str) -> MissingData:
    """Return the error for a missing archive: its name, the folder, the reason, and the fix."""
    return MissingData(
        f"{name}: no intact {archive} was found in {root.resolve()}, and {reason}. Put it there, "
        "or name another folder with --data-root or BENCH_DATA"
    )


@contextlib.contextmanager
def without_output() -> Iterator[None]:
    """Print nothing in the block, and close connections that are silent for the timeout."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT_S)
    sink = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(timeout)


@contextlib.contextmanager
def download_lock(root: Path) -> Iterator[None]:
    """Create the data root, and let one process at a time into the block.

    Afterwards empty folders are removed if the root was new.
    """
    is_new = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    lock = root / ".downloading"
    try:
        with lock.open("a") as file:  # "w" would empty the target of a link with that name
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
    finally:
        lock.unlink(missing_ok=True)
        if is_new:
            _remove_empty_folders(root)


def _remove_empty_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(folder)


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
