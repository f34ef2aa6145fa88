"""An index of a results folder: all records without curves in one file, which is fast to read.

The index is the SQLite database `runs/index.sqlite`. It may be deleted at any time. An entry is
used only while the size, mtime, ctime and inode of the record's file stay the same, so new, changed
and removed records are seen at once. The mtime alone is not enough, because tools such as `cp -p`
restore it. The database is replaced atomically, so no command waits for another. A damaged index,
and one of another version, is ignored and replaced. A folder that cannot be written has no index.
"""

import json
import os
import sqlite3
import stat
import time
import zlib
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench import spec
from bench.config import fields
from bench.results import record as records
from bench.results.files import sha256, write_atomic
from bench.results.record import Record, TeacherInfo

NAME = "index.sqlite"
MIN_NEW = 100  # new records for which the index is written; reading fewer takes little time
# A file changed in the last 2 s has no entry: another change may not change mtime and ctime.
SETTLED_S = 2.0
MAX_INTEGER = 2**63 - 1  # of SQLite
# Values that differ between runs. Records that are equal in all other values share a shape.
_OWN: dict[str, Any] = {
    "id": "", "name": "", "seed": 0, "weights": None, "metrics": {}, "started": None,
    "finished": None, "seconds": 0.0,
}  # fmt: skip
_TEACHER = {"id": "", "network": "", "sha256": "", "top1": 0.0}
_TABLES = (
    "CREATE TABLE shapes (shape INTEGER PRIMARY KEY, content TEXT)",
    "CREATE TABLE records (run TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, "
    "ctime_ns INTEGER, inode INTEGER, shape INTEGER, content TEXT, checksum INTEGER)",
)

Key = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode
Entry = tuple[Key, int, str]  # key, number of the shape, JSON of the record's own values


class Index:
    """The records of a folder that were read before; a missing or damaged index is empty.

    Args:
        folder: The folder of the records' files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = str(folder), folder / NAME
        self._entries: dict[str, Entry] = {}
        self._shapes: dict[str, int] = {}  # number of each shape, by its JSON
        self._templates: dict[int, Record] = {}
        self._added = 0
        with suppress(OSError, sqlite3.Error, ValueError, TypeError, KeyError):
            if stat.S_ISREG(os.stat(self._file).st_mode):
                self._load()
        self._teacher = cache(TeacherInfo.model_validate_json)

    def _load(self) -> None:
        uri = f"file:{quote(os.path.abspath(self._file))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            if database.execute("PRAGMA user_version").fetchone() != (_version(),):
                return
            shapes = {number: text for number, text in database.execute("SELECT * FROM shapes")}
            templates = {number: _template(text) for number, text in shapes.items()}
            entries = {
                run: ((size, mtime, ctime, inode), shape, text)
                for run, size, mtime, ctime, inode, shape, text, checksum in database.execute(
                    "SELECT * FROM records"
                )
                if checksum == _checksum(run, shapes[shape], text)
            }
        self._templates, self._entries = templates, entries
        self._shapes = {text: number for number, text in shapes.items()}

    def key(self, run: str) -> Key | None:
        """Return the state of a record's file; None if there is no regular file."""
        try:
            status = os.stat(f"{self._folder}/{run}.json")
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        inode = status.st_ino & MAX_INTEGER  # some network file systems have larger numbers
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode

    def find(self, run: str, key: Key | None) -> Record | None:
        """Return the record of a run, without curves; None if the file is not in the index."""
        entry = self._entries.get(run)
        if entry is None or entry[0] != key:
            return None
        template = self._templates[entry[1]]
        *values, teacher, taught_by, seed = json.loads(entry[2])
        changed = dict(zip(_OWN, values, strict=True))
        specification = template.specification
        changes = {"seed": seed} if taught_by is None else {"seed": seed, "teacher": taught_by}
        changed["specification"] = specification.model_copy(update=changes)
        if teacher is not None:
            changed["teacher"] = self._teacher(teacher)
        return template.model_copy(update=changed)

    def add(self, record: Record, key: Key | None) -> None:
        """Add a record; `key` is the state of its file before the file was read."""
        if key is None or time.time_ns() - max(key[1:3]) < SETTLED_S * 1e9:
            return
        content = record.content | {"curves": []}
        values = [content[name] for name in _OWN]
        teacher, specification = content["teacher"], content["specification"]
        taught_by, seed = specification.get("teacher"), specification["seed"]
        specification["seed"] = 0
        if taught_by is not None:
            specification["teacher"] = ""
        if teacher is not None:
            content["teacher"], teacher = _TEACHER, json.dumps(teacher)
        shape = json.dumps(content | _OWN)
        number = self._shapes.setdefault(shape, len(self._shapes))
        self._templates.setdefault(number, _template(shape))
        self._entries[record.id] = key, number, json.dumps([*values, teacher, taught_by, seed])
        self._added += 1

    def save(self) -> None:
        """Write the index if it has enough new entries; do nothing if that is impossible."""
        if self._added < MIN_NEW:
            return
        with suppress(OSError, sqlite3.Error), closing(sqlite3.connect(":memory:")) as database:
            present = set(os.listdir(self._folder))
            texts = {number: text for text, number in self._shapes.items()}
            rows = (
                (run, *key, shape, text, _checksum(run, texts[shape], text))
                for run, (key, shape, text) in self._entries.items()
                if f"{run}.json" in present
            )
            with database:
                for table in _TABLES:
                    database.execute(table)
                database.executemany("INSERT INTO shapes VALUES (?, ?)", texts.items())
                database.executemany("INSERT INTO records VALUES (?,?,?,?,?,?,?,?)", rows)
                database.execute(f"PRAGMA user_version = {_version()}")
            write_atomic(self._file, database.serialize(), fsync=False)


def _template(shape: str) -> Record:
    return Record.model_validate_json(shape)


def _checksum(*texts: str) -> int:
    return zlib.crc32("\0".join(texts).encode())


@cache
def _version() -> int:
    """Return a number that changes with the code that defines records and this index."""
    paths = [fields.__file__, spec.__file__, records.__file__, __file__]
    contents = [Path(path).read_bytes() for path in paths if path]
    return int(sha256(b"".join(contents))[:7], 16)
