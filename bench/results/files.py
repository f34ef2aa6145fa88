"""Files among processes that may be killed: whole or not there, known by their sums, locked."""

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import BenchError

ORPHANS = 30.0  # seconds in which the workers of a killed command are gone
PAUSE = 0.05  # seconds between two tries


def write_whole(path: Path, *content: bytes | memoryview, force: bool = True) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new, never a mix.

    The content may come in parts. `force` waits until it is on the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.writelines(content)
            file.flush()
            if force:
                os.fsync(file.fileno())
        os.replace(part, path)
        if force:
            _keep_name(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _keep_name(path: Path) -> None:
    """Wait until the file's name, which is its folder's, is on the disk."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way; its new name, which ends in `.corrupt`."""
    aside = path.with_name(f"{path.name}.corrupt")
    os.replace(path, aside)
    return aside


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Held(BenchError):
    """Somebody else holds a lock."""

    def __init__(self, holder: str, said: str) -> None:
        super().__init__(said)
        self.holder = holder  # `process 4711 on its-host`


@contextmanager
def locked(path: Path, wait: float = 0.0) -> Iterator[int]:
    """Hold a lock file, which is made and removed; yields its descriptor.

    A process that inherits the descriptor holds the lock as well. Tries for `wait` seconds, and,
    where the holder was killed, until those who inherited it are gone; then raises `Held`. OSError
    where no file can be made or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    while isinstance(held := _try(path), str):
        orphans = _gone(held)
        if time.monotonic() - begun >= (max(wait, ORPHANS) if orphans else wait):
            holder = f"a worker of {held}, which has ended," if orphans else held
            raise Held(holder, f"{path}: held by {holder}")
        time.sleep(PAUSE)
    try:
        yield held
    finally:
        with suppress(OSError):
            path.unlink()  # as long as it is held: whoever waits will look for the file anew
        os.close(held)


def _try(path: Path) -> int | str:
    """The descriptor of the locked file, or who holds it."""
    import fcntl  # not on Windows

    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, held):
                os.truncate(held, 0)
                os.write(held, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return held
        except BlockingIOError:
            with os.fdopen(held, errors="replace") as file:
                return file.read() or "another process"
        except BaseException:
            os.close(held)
            raise
        os.close(held)


def _is_still(path: Path, held: int) -> bool:
    """Whether the file was not removed by its last holder between our opening and locking it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(held))
    except FileNotFoundError:
        return False


def _gone(holder: str) -> bool:
    """Whether a process of this machine, which noted itself as the holder, is no more."""
    words = holder.split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
