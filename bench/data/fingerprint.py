"""Hash the contents of image files; a cache keeps the hashes for later commands.

The cache is a database in `$XDG_CACHE_HOME/distillbench`, by default `~/.cache/distillbench`. A
cached hash is used while the file's size, inode, modification time (mtime) and change time (ctime)
stay the same. mtime alone is not enough, because tools such as `cp -p` restore it.
"""

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

DIGEST_BYTES = 16
SETTLED_S = 2.0  # newer files are not cached: a second change may leave their times the same
BUSY_TIMEOUT_S = 5.0  # longest wait for another process that writes to the cache
_TABLE = (
    "CREATE TABLE IF NOT EXISTS hashes "
    "(path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, "
    "digest BLOB)"
)

Key = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode
Check = Callable[[str, bytes], None]  # gets a path and the content; raises if the file is broken


def cache_folder() -> Path:
    """Return the user's cache folder of this program; its files can be deleted and made again."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "distillbench"


def cache_file() -> Path:
    """Return the path of the database with the cached hashes."""
    return cache_folder() / "image-hashes.sqlite"


def hash_files(paths: Sequence[str], check: Check) -> tuple[list[bytes], list[str]]:
    """Return the hash of each file's content.

    Args:
        paths: Regular files.
        check: Called with each file that is not in the cache, in several threads.

    Returns:
        A hash for each file, and the messages of the exceptions that `check` raised. Hashes of
        files with a message are not cached.
    """
    keys = [_key(path) for path in paths]
    cached = _read_cache(paths)
    digests = [cached[path][1] if cached.get(path, (None,))[0] == key else b"" for path, key in
               zip(paths, keys, strict=True)]  # fmt: skip
    todo = [index for index, digest in enumerate(digests) if not digest]
    problems: list[str] = []
    fresh: list[tuple[str, Key, bytes]] = []
    now = time.time_ns()

    def work(index: int) -> tuple[int, bytes, str | None]:
        with open(paths[index], "rb") as file:
            content = file.read()
        digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
        try:
            check(paths[index], content)
        except Exception as error:
            return index, digest, str(error)
        return index, digest, None

    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as threads:
        for index, digest, problem in threads.map(work, todo):
            digests[index] = digest
            if problem is not None:
                problems.append(problem)
            elif now - max(keys[index][1:3]) > SETTLED_S * 1e9:
                fresh.append((paths[index], keys[index], digest))
    _write_cache(fresh)
    return digests, problems


def _key(path: str) -> Key:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "not a regular file", path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read_cache(paths: Sequence[str]) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Return the key and the hash of each path in the cache; empty if the cache is unusable."""
    cached: dict[str, tuple[tuple[int, ...], bytes]] = {}
    with suppress(OSError, sqlite3.Error):
        if not (file := cache_file()).is_file():
            return cached
        with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_S)) as database:
            for part in _parts(paths):
                marks = ",".join("?" * len(part))
                query = f"SELECT * FROM hashes WHERE path IN ({marks})"
                rows = database.execute(query, [os.fsencode(path) for path in part])
                for path, *key, digest in rows:
                    cached[os.fsdecode(path)] = tuple(key), digest
    return cached


def _write_cache(entries: Sequence[tuple[str, Key, bytes]]) -> None:
    """Write hashes to the cache; do nothing if the cache cannot be written."""
    if not entries:
        return
    with suppress(OSError, sqlite3.Error):
        file = cache_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [(os.fsencode(path), *key, digest) for path, key, digest in entries]
        with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_S)) as database, database:
            database.execute(_TABLE)
            database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)", rows)


def _parts(paths: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]
