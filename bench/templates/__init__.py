"""The files that `bench new` writes: a plugin, its test and a suite that uses it."""

import importlib.util
import keyword
import re
import sys
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from bench.errors import BenchError
from bench.plugins import BUILTIN, RESERVED, Kind
from bench.suite import canonical

MAX_NAME_LENGTH = 40
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
TEACHER = "teacher"  # the label of the teachers' row in tables


def write(kind: Kind, name: str, folder: Path) -> list[Path]:
    """Write a plugin with one definition, its test, and a suite that uses it.

    Args:
        kind: `distiller`, `network` or `dataset`.
        name: Name of the plugin's file, without `.py`; see `definition_name`.
        folder: An existing folder.

    Returns:
        The paths of the three new files.

    Raises:
        BenchError: The name cannot be used, or a file exists. Then no file is written.
    """
    definition = definition_name(kind, name)
    paths = {
        folder / f"{name}.py": f"{kind}.py.txt",
        folder / f"test_{name}.py": f"{kind}_test.py.txt",
        folder / f"{name}.yaml": f"{kind}.yaml.txt",
    }
    if existing := [str(path) for path in paths if path.exists() or path.is_symlink()]:
        raise BenchError(f"{', '.join(existing)}: exists already. Allowed: another name or folder")
    values = {
        "file": name,
        "name": definition,
        "Class": "".join(part.capitalize() for part in name.split("_")),
        "year": datetime.now(UTC).year,
    }
    texts = {path: _text(template, values) for path, template in paths.items()}
    for path, text in texts.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return list(paths)


def definition_name(kind: Kind, name: str) -> str:
    """Return the name in suites: for a distiller, the class's name in lower case, else `name`.

    Raises:
        BenchError: The name is not a name of a Python module in lower case, or is that of another
            module, or of something that bench has already.
    """
    where = f"bench new {kind} {name}"
    if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH or keyword.iskeyword(name):
        rule = f"small ASCII letters, digits and single _, at most {MAX_NAME_LENGTH} characters"
        raise BenchError(f"{where}: not a name of a Python module. Allowed: {rule}; not a keyword")
    if name in sys.stdlib_module_names or _is_installed(name):
        raise BenchError(
            f"{where}: a Python module '{name}' is installed, which would hide the new file. "
            "Allowed: another name"
        )
    definition = name.replace("_", "") if kind == "distiller" else name
    used = {*BUILTIN.names(kind), *(canonical() if kind == "distiller" else ())}
    if definition in {*used, *RESERVED, TEACHER}:
        raise BenchError(f"{where}: bench has '{definition}' already. Allowed: another name")
    return definition


def _is_installed(name: str) -> bool:
    """Return whether a module of this name is found outside the current folder."""
    spec = importlib.util.find_spec(name)
    here = Path.cwd()
    return spec is not None and (spec.origin is None or Path(spec.origin).parent != here)


def _text(template: str, values: dict[str, Any]) -> str:
    text = resources.files(__name__).joinpath(template).read_text("utf-8")
    return Template(text).substitute(values)
