"""Folders of this machine that last as long as their process, however it ends."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "distillbench-"
OWNER = ".owner"  # a file in each, locked as long as the process lives


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder, removed in the end; what processes that were killed have left is removed first."""
    import fcntl  # not on Windows

    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _sweep(path)
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    with (made / OWNER).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        path = made.rename(made.with_name(made.name[1:]))  # locked before anybody sweeps it
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove a folder whose process is no more; another user's, or anything else, is let be."""
    import fcntl

    with suppress(OSError):
        if path.lstat().st_uid == os.getuid():
            with (path / OWNER).open() as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
