"""The one door for code: a user's own distillers, networks, data sets.

In a file that a suite names, or in the module that an entry point of the group
`distillbench.plugins` names, stand subclasses of `Distiller`, and the tables
`NETWORKS = {name: builder(classes)}` and `DATASETS = {name: source}`. Whatever is found there is
known by its name from then on.
"""

import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import distillers
from bench import data, models
from bench.errors import BenchError, nearest
from distillers import Distiller, Features

GROUP = "distillbench.plugins"
CLOSED = "BENCH_NO_PLUGINS"  # in the environment, so that workers find it there too

Kind = Literal["distiller", "network", "dataset"]

_sources: dict[tuple[str, str], str] = {}  # (kind, name): SHA-256 of the file that defines it
_loaded: dict[Path, str] = {}  # file: SHA-256 when it was loaded


def closed() -> bool:
    """Whether no plugin may be loaded, named or installed."""
    return bool(os.environ.get(CLOSED))


@contextmanager
def closing() -> Iterator[None]:
    """Inside, and in processes that are started inside, no plugin is loaded; `--no-plugins`."""
    before = os.environ.get(CLOSED, "")
    os.environ[CLOSED] = "1"
    try:
        yield
    finally:
        os.environ[CLOSED] = before


def load(path: Path) -> None:
    """Make known what a file defines; twice is harmless. BenchError says what is wrong with it."""
    if closed():
        raise BenchError(f"{path.name} is not loaded: --no-plugins, or {CLOSED}, keeps code out")
    path = path.resolve()
    if not path.is_file():
        others = [other.name for other in path.parent.glob("*.py")]
        raise BenchError(f"no file '{path}'.{nearest(path.name, others)}")
    digest = _digest(path)
    if _loaded.get(path, digest) != digest:
        raise BenchError(f"{path.name} has changed since it was loaded: start Python anew")
    if path in _loaded:
        return
    name = f"distillbench_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    module = _executed(path, name)
    _register(module, path)
    _loaded[path] = digest


def load_installed() -> None:
    """Make known what installed packages offer as entry points, unless plugins are kept out."""
    if not closed():
        _load_entries()


@cache
def _load_entries() -> None:
    for entry in entry_points(group=GROUP):
        _load_entry(entry)


def source_of(kind: Kind, name: str) -> str | None:
    """The SHA-256 of the plugin that defines a name; None for what is not a plugin's."""
    return _sources.get((kind, name))


def _load_entry(entry: EntryPoint) -> None:
    what = f"entry point '{entry.name}' ({entry.value})"
    try:
        module = entry.load()
    except Exception as error:
        raise BenchError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(module, ModuleType) or not module.__file__:
        raise BenchError(f"{what} is no module. Allowed: the name of a module")
    _register(module, Path(module.__file__))


def _executed(path: Path, name: str) -> ModuleType:
    """The module of a file, in sys.modules under that name."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"'{path.name}' is no Python file. Allowed: files ending in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BenchError(f"{path.name}:{_line(error, path)}: {_reason(error)}") from error
    return module


def _line(error: BaseException, path: Path) -> int:
    """The last line of the file that an error went through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 1 for f in reversed(frames) if f.filename == str(path)), 1)


def _reason(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _register(module: ModuleType, path: Path) -> None:
    """Register all that a module defines; nothing at all is a mistake."""
    adders: dict[Kind, Callable[[str, Any], None]] = {
        "distiller": lambda _, distiller: distillers.register(distiller),
        "network": models.register,
        "dataset": data.register,
    }
    offered = _offered(module, path)
    if not offered:
        allowed = "subclasses of Distiller, NETWORKS = {…}, DATASETS = {…}"
        raise BenchError(f"{path.name} defines nothing to benchmark. Allowed: {allowed}")
    for kind, name, thing, file in offered:
        try:
            adders[kind](name, thing)
        except (ValueError, TypeError, BenchError) as error:
            raise BenchError(f"{path.name}: {error}") from error
        _sources[kind, name] = _digest(file)


def _offered(module: ModuleType, path: Path) -> list[tuple[Kind, str, Any, Path]]:
    """Kind, name, thing and defining file of all that a module offers."""
    offered: list[tuple[Kind, str, Any, Path]] = []
    for distiller in _distillers(module):
        _check(distiller, path)
        file = Path(inspect.getfile(distiller))
        offered.append(("distiller", distiller.__name__.lower(), distiller, file))
    tables: dict[str, Kind] = {"NETWORKS": "network", "DATASETS": "dataset"}
    for table, kind in tables.items():
        held = getattr(module, table, {})
        if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
            raise BenchError(f"{path.name}: {table} is not a dict with names as keys")
        offered += [(kind, name, thing, path) for name, thing in held.items()]
    return offered


def _distillers(module: ModuleType) -> list[type[Distiller]]:
    """Those that a module defines, or takes from modules inside of it."""
    inside = (module.__name__, f"{module.__name__}.")
    return [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, Distiller)
        and (thing.__module__ == inside[0] or thing.__module__.startswith(inside[1]))
        and not inspect.isabstract(thing)
    ]


def _check(distiller: type[Distiller], path: Path) -> None:
    """A distiller's class attributes and constructor must be as the contract says."""
    where = f"{path.name}:{inspect.getsourcelines(distiller)[1]}: {distiller.__name__}"
    taps = [field.name for field in fields(Features)]
    reads = getattr(distiller, "reads", None)
    if not isinstance(reads, tuple) or not set(reads) <= set(taps):
        allowed = ", ".join(repr(tap) for tap in taps)
        raise BenchError(f"{where}.reads is not a tuple. Allowed in it: {allowed}")
    if not isinstance(getattr(distiller, "paper", None), str):
        raise BenchError(f"{where}.paper is missing. Allowed: a text that says where it is from")
    parameters = list(inspect.signature(distiller.__init__).parameters)
    if len(parameters) < 2:
        raise BenchError(f"{where}.__init__ takes no setting. Allowed: (self, setting, *, options)")
    if "weight" in parameters:
        raise BenchError(f"{where} has an option 'weight', which is a term's weight in a suite")
    try:
        inspect.get_annotations(distiller.__init__, eval_str=True)
    except Exception as error:
        raise BenchError(f"{where}.__init__ has types that are not defined: {error}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
