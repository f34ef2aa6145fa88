"""Write the files of a site to a folder.

A site's folder has a file `site.json` that lists the site's files. Only listed files are ever
deleted. `index.html` is deleted first and written last: an interrupted site has no front page.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.results import Unwritable, sha256, write_atomic

LIST = "site.json"
INDEX = "index.html"


def check(folder: Path) -> None:
    """Raise BenchError unless the folder is new, empty, or a site of this program."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or not (folder / LIST).is_file():
        allowed = f"a new folder, an empty one, or a site ({LIST} lists its files)"
        raise BenchError(f"{folder}: not empty, and not a site. Allowed: {allowed}")
    _listed(folder)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a site; files of the earlier site in the folder are replaced or deleted.

    Args:
        folder: The folder.
        files: Content by path relative to the folder, with `/`; it contains `index.html`.

    Raises:
        BenchError: As in `check`.
        Unwritable: A file cannot be written; the folder then has no `index.html`.
    """
    check(folder)
    _check_inside(folder, files)
    before = _listed(folder) if (folder / LIST).is_file() else []
    try:
        _write_list(folder, sorted({*before, *files}), complete=False)
        (folder / INDEX).unlink(missing_ok=True)
        for name in sorted({*before} - {*files}):
            (folder / name).unlink(missing_ok=True)
        for name in sorted(files.keys() - {INDEX}):
            write_atomic(folder / name, files[name], fsync=False)
        write_atomic(folder / INDEX, files[INDEX])
        _write_list(folder, sorted(files), complete=True, digest=_digest(files))
    except OSError as error:
        reason = error.strerror or error
        raise Unwritable(f"{error.filename or folder}: cannot be written: {reason}") from error


def _write_list(folder: Path, names: list[str], *, complete: bool, digest: str = "") -> None:
    content = {"format": 1, "complete": complete, "sha256": digest, "files": names}
    write_atomic(folder / LIST, f"{json.dumps(content, indent=1)}\n".encode())


def _digest(files: Mapping[str, bytes]) -> str:
    """Return a SHA-256 of all files and their names."""
    lines = [f"{sha256(content)}  {name}\n" for name, content in sorted(files.items())]
    return sha256("".join(lines).encode())


def _listed(folder: Path) -> list[str]:
    """Return the files that the list of an earlier site names, all inside the folder."""
    path = folder / LIST
    try:
        content = json.loads(path.read_bytes())
        names = [str(name) for name in content["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path}: not the list of a site. Delete the folder {folder}") from error
    _check_inside(folder, names)
    return names


def _check_inside(folder: Path, names: Iterable[str]) -> None:
    """Raise BenchError if a file would be outside of the folder, for example because of a link."""
    root = folder.resolve()
    if outside := [name for name in names if not (root / name).resolve().is_relative_to(root)]:
        raise BenchError(f"{folder}: {outside[0]} is outside of the folder. Delete {folder}")
