"""Hash the contents of image files; a cache keeps the hashes for later commands.

The cache is a database in `$XDG_CACHE_HOME/distillbench`, by default `~/.cache/distillbench`. A
cached hash is used while the file's size, inode, modification time (mtime) and change time (ctime)
stay the same. The mtime alone is not enough, because tools such as `cp -p` restore the mtime. A
damaged database is replaced.
"""

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

DIGEST_BYTES = 16
# A file changed in the last 2 s is not cached: another change may not change mtime and ctime.
SETTLED_S = 2.0
BUSY_TIMEOUT_S = 5.0  # longest wait for another process that writes to the cache
_TABLE = (
    "CREATE TABLE IF NOT EXISTS hashes "
    "(path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, "
    "digest BLOB)"
)
_DAMAGED = (  # SQLITE_ERROR: the database has another format
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR,
)  # fmt: skip

Key = tuple[int, ...]  # size, mtime_ns, ctime_ns, inode
Entries = dict[str, tuple[Key, bytes]]  # key and digest, by path
Check = Callable[[str, bytes], None]  # gets a path and the content; raises if the file is broken


def cache_folder() -> Path:
    """Return the user's folder for caches of this program; a deleted cache is created again."""
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
    fresh: Entries = {}
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
                fresh[paths[index]] = keys[index], digest
    _write_cache(fresh, cached)
    return digests, problems


def _key(path: str) -> Key:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "not a regular file", path)
    inode = status.st_ino & (2**63 - 1)  # the largest number of SQLite
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode


@contextmanager
def _open_cache() -> Iterator[sqlite3.Connection]:
    """Open the cache for one transaction; if the cache is damaged, remove the file and raise."""
    file = cache_file()
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_S)) as database, database:
            yield database
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _DAMAGED:
            for ending in ("", "-journal"):  # a journal would be applied to the next database
                Path(f"{file}{ending}").unlink(missing_ok=True)
        raise


def _read_cache(paths: Sequence[str]) -> Entries:
    """Return the key and the hash of each path in the cache; empty if the cache is unusable."""
    cached: Entries = {}
    with suppress(OSError, sqlite3.Error):
        if not cache_file().is_file():
            return {}
        with _open_cache() as database:
            for part in _parts(paths):
                marks = ",".join("?" * len(part))
                query = f"SELECT * FROM hashes WHERE path IN ({marks})"
                rows = database.execute(query, [os.fsencode(path) for path in part])
                for path, *key, digest in rows:
                    if isinstance(digest, bytes) and len(digest) == DIGEST_BYTES:
                        cached[os.fsdecode(path)] = tuple(key), digest
        return cached
    return {}  # all files are hashed again


def _write_cache(fresh: Entries, cached: Entries) -> None:
    """Write hashes to the cache; do nothing if the cache cannot be written.

    Args:
        fresh: Entries that the cache does not have.
        cached: Entries that were read from the cache; a replaced cache gets these entries again.
    """
    if not fresh:
        return
    with suppress(OSError, sqlite3.Error):
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        try:
            _insert(fresh)
        except sqlite3.Error:
            if not cache_file().exists():  # `_open_cache` removed a damaged database
                _insert({**cached, **fresh})


def _insert(entries: Entries) -> None:
    rows = [(os.fsencode(path), *key, digest) for path, (key, digest) in entries.items()]
    with _open_cache() as database:
        database.execute(_TABLE)
        database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)", rows)


def _parts(paths: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]
