"""Data sets in official files: read them, and download the files that are missing or damaged."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench.data.base import Arrays, Facts, Source
from bench.errors import BenchError, MissingData

if sys.platform != "win32":
    import fcntl

NETWORK_TIMEOUT_S = 20.0  # a download fails if no data arrive for this time
FAILURES = (OSError, RuntimeError, ValueError, AssertionError)


class Archive(ABC):
    """A data set in official files; missing files are downloaded to the data root.

    Attributes:
        facts: the data set's facts.
        archive: the names of the official files, for messages.
        unpacked: the folder in the data root that contains the unpacked files.

    """

    facts: Facts
    archive: str
    unpacked: str

    def read(self, root: Path) -> Arrays:
        """Read all images in the official order; download missing or damaged files first."""
        for pattern in (self.archive.split()[0], self.unpacked, f"{self.unpacked}/*"):
            for path in root.glob(pattern):
                if path.exists() and not (path.is_file() or path.is_dir()):
                    raise self.missing(root, f"{path.name} is not a regular file")  # e.g. a pipe
        from http.client import HTTPException  # imports ssl, which takes time

        with without_output():
            with contextlib.suppress(*FAILURES):
                return self.arrays(root, download=False)
            try:
                with download_lock(root):
                    return self.arrays(root, download=True)
            except (*FAILURES, HTTPException) as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                reason = f"downloading failed ({lines[-1].strip()})"
                raise self.missing(root, reason) from error

    @abstractmethod
    def arrays(self, root: Path, *, download: bool) -> Arrays:
        """Verify and read the files; first download missing files if `download` is true."""

    def at(self, root: Path) -> Source:
        """Return the data set that a data root holds, which may be a subset of the official one."""
        return self

    def missing(self, root: Path, reason: str) -> MissingData:
        """Return the error for missing files; the message names the files, the reason, the fix."""
        return MissingData(
            f"{self.facts.name}: no intact {self.archive} was found in {root.resolve()}, and "
            f"{reason}. Put it there, or name another folder with --data-root or BENCH_DATA"
        )


@contextlib.contextmanager
def without_output() -> Iterator[None]:
    """Hide the block's output; connections fail if no data arrive for `NETWORK_TIMEOUT_S`."""
    timeout, sink = socket.getdefaulttimeout(), io.StringIO()
    socket.setdefaulttimeout(NETWORK_TIMEOUT_S)
    try:
        with (
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        socket.setdefaulttimeout(timeout)


@contextlib.contextmanager
def download_lock(root: Path) -> Iterator[None]:
    """Create the data root, and run the block while no other process downloads to this folder.

    If this function created the root, it removes empty folders in the root at the end, and then the
    root if the root is empty.
    """
    is_new = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    lock = root / ".downloading"
    if lock.exists() and not lock.is_file():
        raise BenchError(f"{lock}: not a regular file; remove it")
    file = _locked(lock)
    try:
        yield
    finally:
        if sys.platform == "win32":  # which cannot delete an open file
            file.close()
        lock.unlink(missing_ok=True)
        file.close()
        for folder, _, _ in os.walk(root, topdown=False) if is_new else ():
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(folder)


def _locked(lock: Path) -> IO[str]:
    """Return the open lock file as soon as no other process has locked it."""
    while True:
        file = lock.open("a")  # if the name is a link, "w" would empty its target
        if sys.platform == "win32":
            return file
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # else the last process has deleted this file
            if os.path.samestat(lock.stat(), os.fstat(file.fileno())):
                return file
        file.close()
