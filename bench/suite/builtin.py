"""The suites that come with the package, and the file that a suite's name stands for."""

from contextlib import suppress
from pathlib import Path

from bench.errors import Mistakes, nearest

_HERE = Path(__file__).parents[1]


def shipped() -> list[Path]:
    """The files of the suites that come with the package: installed, or in the checkout."""
    folders = (_HERE / "suites", _HERE.parent / "suites")
    folder = next((f for f in folders if f.is_dir()), folders[0])
    return sorted(folder.glob("*.yaml"))


def find(name: str | Path) -> Path:
    """The file that a name stands for: a path, or a shipped suite, with or without its ending.

    A file that exists goes first. Raises `Mistakes` with the nearest of the shipped suites.
    """
    path = Path(name)
    with suppress(OSError, RuntimeError):  # no path at all, or no user behind its ~
        path = path.expanduser()
        if path.is_file():
            return path
    known = {file.stem: file for file in shipped()}
    stem = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if path.parent in (Path(), Path("suites")) and stem in known:
        return known[stem]
    what = "a folder" if path.is_dir() else "no such suite"
    allowed = f"a suite file, {', '.join(known)}"
    raise Mistakes([f"{name}: {what}.{nearest(stem, known)} Allowed: {allowed}"])
