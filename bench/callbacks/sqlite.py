"""A tracking store that is a file of SQLite: one process at a time, and at home where it lies."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from bench.results.files import locked

TURN = 120.0  # seconds to wait for other processes


@contextmanager
def turn(uri: str) -> Iterator[None]:
    """Inside, no other process makes the store or writes to it; servers see to that themselves."""
    path = _file(uri)
    if path is None:
        yield
    else:
        with locked(path.with_name(f".{path.name}.lock"), TURN):
            yield


def try_to_write(uri: str) -> None:
    """Raise sqlite3's error at once where the file cannot be written: mlflow tries for minutes."""
    if (path := _file(uri)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as file:
            file.execute("BEGIN IMMEDIATE")


@contextmanager
def fresh(uri: str) -> Iterator[str | None]:
    """The URI of a file to be made in the place of one that is not there; None where one is.

    It takes that place once it is whole: what is half made can never be used again.
    """
    path = _file(uri)
    if path is None or (path.exists() and path.stat().st_size > 0):
        yield None
        return
    for torn in path.parent.glob(f".{path.name}.*.part*"):
        torn.unlink()
    # a name of its own each time: mlflow keeps connections to files by their names
    part = path.with_name(f".{path.name}.{time.time_ns()}.part")
    try:
        yield f"sqlite:///{part.as_posix()}"
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def settle(uri: str, experiment: str, place: str) -> None:
    """Let the store keep its artifacts at this place, where they are if its folder has moved."""
    path = _file(uri)
    if path is None or not path.exists():
        return
    with closing(sqlite3.connect(path)) as file, suppress(sqlite3.OperationalError):  # still empty
        asked = "SELECT artifact_location FROM experiments WHERE name = ?"
        for (old,) in file.execute(asked, [experiment]).fetchall():
            changes = (
                "UPDATE runs SET artifact_uri = replace(artifact_uri, ?1, ?2)",
                "UPDATE experiments SET artifact_location = replace(artifact_location, ?1, ?2)",
            )
            for change in changes if old != place else ():
                file.execute(change, [old, place])
        file.commit()


def _file(uri: str) -> Path | None:
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])
