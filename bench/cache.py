"""Results of slow functions, kept in the user's cache folder, so that a repeated command is fast.

The folder is `$XDG_CACHE_HOME/distillbench/outcomes`, by default `~/.cache/distillbench/outcomes`.
It may be deleted at any time. A result is used only for equal inputs, the same code of this program
(size and mtime of each file, as Python's own bytecode caches) and the same versions of torch and
the libraries of networks. A result that depends on plugins is kept only if their hashes are among
the inputs.
"""

import json
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.data.fingerprint import cache_folder
from bench.results.files import sha256, write_atomic
from bench.spec import content_hash

MAX_FILES = 500  # above this number, the older half is deleted
LIBRARIES = ("torch", "torchvision", "timm")
_PACKAGES = [Path(__file__).parent, Path(__file__).parents[1] / "distillers"]


def cached(inputs: Any, compute: Callable[[], Any]) -> Any:
    """Return the result of a function, from the cache if it has one for these inputs.

    Args:
        inputs: Everything on which the result depends, besides the code, as JSON data. The first
            item is the name of the function.
        compute: The function; it returns JSON data.
    """
    path = cache_folder() / "outcomes" / f"{content_hash([inputs, _code()])}.json"
    with suppress(OSError, ValueError):
        digest, text = path.read_text("utf-8").split("\n", 1)
        if digest == sha256(text.encode()):
            return json.loads(text)
    text = json.dumps(compute())
    with suppress(OSError):
        write_atomic(path, f"{sha256(text.encode())}\n{text}".encode(), fsync=False)
        _remove_old(path.parent)
    return json.loads(text)


def _remove_old(folder: Path) -> None:
    files = list(folder.glob("*.json"))
    if len(files) > MAX_FILES:
        for path in sorted(files, key=lambda path: path.stat().st_mtime)[: len(files) // 2]:
            path.unlink(missing_ok=True)


@cache
def _code() -> str:
    """Return a hash of the state of this program's files, and of the versions of libraries."""
    files = sorted(
        (str(path.relative_to(package)), path.stat().st_size, path.stat().st_mtime_ns)
        for package in _PACKAGES
        for path in package.rglob("*")
        if path.suffix in (".py", ".yaml")
    )
    return content_hash([files, platform.python_version(), *map(version, LIBRARIES)])
