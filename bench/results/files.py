"""File operations that are safe if the process is killed: atomic writes, locks, quarantine."""

import errno
import hashlib
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import BenchError

ORPHAN_TIMEOUT_S = 30.0  # the workers of a killed command end within this time
POLL_INTERVAL_S = 0.05  # pause between two attempts to lock a file


def write_atomic(path: Path, *chunks: bytes | memoryview, fsync: bool = True) -> None:
    """Write a file atomically: readers see either the old or the new content, even after a crash.

    Args:
        path: File to write; missing parent folders are created.
        *chunks: The new content, in order.
        fsync: Whether to wait until the content and the file's name are on the disk.

    Raises:
        OSError: The file cannot be written; the old content is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.writelines(chunks)
            file.flush()
            if fsync:
                os.fsync(file.fileno())
        os.replace(part, path)
        if fsync:
            _fsync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _fsync_folder(folder: Path) -> None:
    """Wait until the names of a folder's files are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quarantine(path: Path) -> Path:
    """Rename a corrupt file to `<name>.corrupt`; return the new path."""
    target = path.with_name(f"{path.name}.corrupt")
    os.replace(path, target)
    return target


def sha256(content: Path | bytes | memoryview) -> str:
    """Return the SHA-256 of a file or of bytes, as 64 hex digits."""
    if not isinstance(content, Path):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LockHeld(BenchError):
    """Another process holds a lock; the message names the process: `process 4711 on hostname`."""


@contextmanager
def locked(path: Path, timeout_s: float = 0.0) -> Iterator[int]:
    """Create a lock file and hold its lock in the block; remove the file at the end.

    A worker process that inherits the file's descriptor holds the lock too. If the process named in
    the file has ended, its workers soon end too. The wait for the lock is then extended to
    `ORPHAN_TIMEOUT_S` if `timeout_s` is shorter.

    Args:
        path: The lock file.
        timeout_s: Seconds to wait for the lock.

    Yields:
        The descriptor of the lock file.

    Raises:
        LockHeld: Another process still holds the lock after the wait.
        OSError: The file cannot be created or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    while isinstance(lock := _try_lock(path), str):
        killed = _has_ended(lock)
        if time.monotonic() - start >= (max(timeout_s, ORPHAN_TIMEOUT_S) if killed else timeout_s):
            holder = f"a worker of {lock}, which has ended" if killed else lock
            raise LockHeld(
                f"{path}: locked by {holder}. Wait until the lock is released, or use another "
                "folder; commands that only read need no lock"
            )
        time.sleep(POLL_INTERVAL_S)
    try:
        yield lock
    finally:
        with suppress(OSError):
            path.unlink()  # before the release, so that waiting processes create a new file
        os.close(lock)


def _try_lock(path: Path) -> int | str:
    """Return the descriptor of the locked file, or a description of the holder."""
    import fcntl  # not on Windows

    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, f"{path.name} is not a regular file", str(path))
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(path, descriptor):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
        except BlockingIOError:
            with os.fdopen(descriptor, errors="replace") as file:
                return file.read() or "another process"
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_current(path: Path, descriptor: int) -> bool:
    """Return whether the path still names the locked file, which a former holder may remove."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _has_ended(holder: str) -> bool:
    """Return whether the holder was a process of this machine that no longer exists."""
    process = re.fullmatch(rf"process (\d+) on {re.escape(socket.gethostname())}", holder)
    if process is None:
        return False
    try:
        os.kill(int(process[1]), 0)
    except OSError as error:  # other errors: the process exists
        return isinstance(error, ProcessLookupError)
    return False
