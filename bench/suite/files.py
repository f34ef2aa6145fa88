"""The files that a suite names, plugins and teachers' checkpoints: found, bounded, known by sum."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.config.errors import Mistake, Where
from bench.config.overrides import Source
from bench.errors import BenchError
from bench.plugins import Registry
from bench.suite.resolved import Checkpoint
from bench.suite.schema import CheckpointEntry, SuiteFile

LARGEST_CHECKPOINT = 8 * 1024**3  # bytes


def load_plugins(
    source: Source, folder: Path, registry: Registry
) -> tuple[tuple[Path, ...], list[Mistake]]:
    """Load the suite's plugins into a registry and return their files."""
    files, mistakes = [], []
    try:
        registry.load_installed()
    except BenchError as error:
        mistakes.append(Mistake((), str(error)))
    asked = source.data.get("plugins")
    for i, name in enumerate(asked if isinstance(asked, list) else ()):
        if isinstance(name, str) and name and "\n" not in name:
            try:
                with _reading(name):
                    files.append(_beside(folder, name))
                    registry.load(files[-1])
            except BenchError as error:
                mistakes.append(Mistake(("plugins", i), str(error)))
    return tuple(files), mistakes


def checkpoints(file: SuiteFile, folder: Path) -> tuple[dict[str, Checkpoint], list[Mistake]]:
    """The teachers' files by network, each known by the SHA-256 of what it holds."""
    found, mistakes = {}, []
    for network, entry in file.teachers.checkpoints.items():
        where: Where = ("teachers", "checkpoints", network)
        try:
            with _reading(entry.path):
                found[network] = _checkpoint(entry, _beside(folder, entry.path))
        except BenchError as error:
            mistakes.append(Mistake(where, str(error)))
    return found, mistakes


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Inside, what the system says of a path becomes a sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: no user behind a ~, a circle of links
        reason = error.strerror if isinstance(error, OSError) else error
        raise BenchError(f"'{name}' cannot be read: {reason}") from error


def _beside(folder: Path, name: str) -> Path:
    """A path that a suite in that folder names."""
    return (folder / Path(name).expanduser()).resolve()


def _checkpoint(entry: CheckpointEntry, path: Path) -> Checkpoint:
    """The checkpoint of an entry; a file that is not there yet must be named by its SHA-256."""
    digest = entry.sha256
    if path.is_file():
        if (size := path.stat().st_size) > LARGEST_CHECKPOINT:
            raise BenchError(f"'{path}' has {size:,} bytes. Allowed: {LARGEST_CHECKPOINT:,}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if entry.sha256 not in (None, digest):
            raise BenchError(f"the SHA-256 of '{path}' is {digest}, not what the suite says")
    if digest is None:
        raise BenchError(f"no file '{path}'. Allowed: a checkpoint's path, or one with sha256")
    return Checkpoint(path, digest, entry.top1, entry.tolerance)
