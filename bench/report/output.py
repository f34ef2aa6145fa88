"""A file that a verb leaves: written whole, or an error that names it."""

from pathlib import Path

from bench.results import Unwritable, write_atomic


def written(path: Path, content: bytes) -> Path:
    """The path, once the content is there; raises `Unwritable`."""
    try:
        write_atomic(path, content)
    except OSError as error:  # of the part that it writes first, or of no file at all
        raise Unwritable(f"{path}: cannot be written: {error.strerror or error}") from error
    return path
