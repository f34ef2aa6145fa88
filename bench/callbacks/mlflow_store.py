"""New SQLite stores of MLflow, as copies of an empty store in the user's cache."""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from bench.data.fingerprint import cache_folder


def create_store(path: Path, open_store: Callable[[str], object]) -> None:
    """Create a SQLite store, as a copy of an empty store if one is in the user's cache.

    MLflow creates a store by running all its migrations, which takes longer than a short suite.
    Therefore each version of MLflow does so only once.

    Args:
        path: The new store, a writable file.
        open_store: MLflow's class of clients, which creates the store at an address.
    """
    empty = cache_folder() / f"mlflow-{version('mlflow')}.sqlite"
    with suppress(OSError, sqlite3.Error):
        if empty.is_file():
            return _copy_without_experiments(empty, path)
    path.write_bytes(b"")  # a damaged store may have been copied in part
    open_store(f"sqlite:///{path.as_posix()}")
    with suppress(OSError, sqlite3.Error):
        empty.parent.mkdir(parents=True, exist_ok=True)
        partial = empty.with_name(f".{empty.name}.{time.time_ns()}.part")
        try:
            _copy_without_experiments(path, partial)
            os.replace(partial, empty)
        finally:
            partial.unlink(missing_ok=True)


def _copy_without_experiments(source: Path, target: Path) -> None:
    """Copy an intact store; MLflow adds its default experiment when it opens the copy.

    The artifacts of this experiment belong to the folder in which the store was opened.
    """
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        if old.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError(f"{source} is damaged")
        old.backup(new)
        with new:
            new.execute("DELETE FROM experiments")
