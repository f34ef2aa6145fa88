"""Plugins: a user's own distillers, networks and data sets, in a file or an installed package.

A plugin is a Python file that a suite names under `plugins`, or a module that an installed package
names as an entry point of the group `distillbench.plugins`. A plugin defines subclasses of
`Distiller`, `NETWORKS = {name: builder}` or `DATASETS = {name: source}`. Each suite has its own
`Registry` of names, so one process can open suites with different plugins.
"""

import hashlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from torch import nn

import distillers
from bench import data, models
from bench.data import Source
from bench.data.folder import PREFIX
from bench.errors import BenchError, nearest
from distillers import Distiller, Features

GROUP = "distillbench.plugins"

Kind = Literal["distiller", "network", "dataset"]
_TABLES: Mapping[str, Kind] = {"NETWORKS": "network", "DATASETS": "dataset"}
_BUILTIN: Mapping[Kind, frozenset[str]] = {
    "distiller": frozenset(distillers.names()),
    "network": frozenset(models.names()),
    "dataset": frozenset(data.names()),
}


class Registry:
    """The distillers, networks and data sets of one suite: built-in ones and those of plugins.

    Two registries are equal if their plugins define the same names in files with the same SHA-256.

    Attributes:
        enabled: Whether plugins may be loaded.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._added: dict[Kind, dict[str, Any]] = {kind: {} for kind in _BUILTIN}
        self._sources: dict[tuple[Kind, str], str] = {}  # SHA-256 of the defining file

    @classmethod
    def of(cls, files: Iterable[Path], *, enabled: bool = True) -> "Registry":
        """Return a registry of the built-in names, the installed plugins and the given files.

        Args:
            files: The plugin files of a suite.
            enabled: False: load no plugin; then `files` must be empty.

        Raises:
            BenchError: A plugin is invalid, or plugins are disabled.
        """
        registry = cls(enabled=enabled)
        registry.load_installed()
        for file in files:
            registry.load(file)
        return registry

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registry) and self._sources == other._sources

    def __hash__(self) -> int:
        return hash(frozenset(self._sources.items()))

    @property
    def datasets(self) -> Mapping[str, Source]:
        """The plugins' data sets by name, for `data.facts` and `data.load`."""
        return self._added["dataset"]

    def distiller(self, name: str) -> type[Distiller]:
        """Return the class of a distiller; raise KeyError if the name is unknown."""
        return self._added["distiller"].get(name) or distillers.load(name)

    def build_network(self, name: str, classes: int, size: int | None = None) -> nn.Module:
        """Return a new network by name, like `models.build`, also for networks of plugins."""
        return models.build(name, classes, size, self._added["network"])

    def names(self, kind: Kind) -> list[str]:
        """Return the sorted names of a kind; `timm:…`, `torchvision:…`, `folder:…` are left out."""
        return sorted({*_BUILTIN[kind], *self._added[kind]})

    def source_of(self, kind: Kind, name: str) -> str | None:
        """Return the SHA-256 of the plugin file that defines a name; None for built-in names."""
        return self._sources.get((kind, name))

    def load(self, path: Path) -> None:
        """Add the definitions of a plugin file.

        Raises:
            BenchError: The file is missing, raises an error, or contains an invalid definition.
        """
        if not self.enabled:
            raise BenchError(f"{path.name} is not loaded: --no-plugins disables plugins")
        path = path.resolve()
        if not path.is_file():
            files = [file.name for file in path.parent.glob("*.py")]
            raise BenchError(f"no file '{path}'.{nearest(path.name, files)}")
        content = path.read_bytes()
        self._add_module(_execute(path, content), path, _digest(content))

    def load_installed(self) -> None:
        """Add the definitions of installed packages, unless plugins are disabled.

        Raises:
            BenchError: An entry point is invalid.
        """
        for entry in entry_points(group=GROUP) if self.enabled else ():
            name = f"entry point '{entry.name}' ({entry.value})"
            try:
                module = entry.load()
            except Exception as error:
                raise BenchError(f"{name} cannot be loaded: {_reason(error)}") from error
            if not isinstance(module, ModuleType) or not module.__file__:
                raise BenchError(f"{name} is not a module. Allowed: the name of a module")
            path = Path(module.__file__)
            self._add_module(module, path, _digest(path.read_bytes()))

    def _add_module(self, module: ModuleType, path: Path, digest: str) -> None:
        definitions = list(_definitions(module, path, digest))
        if not definitions:
            allowed = "subclasses of Distiller, NETWORKS = {…}, DATASETS = {…}"
            raise BenchError(f"{path.name} defines nothing to benchmark. Allowed: {allowed}")
        for kind, name, definition, source in definitions:
            reserved = name in _BUILTIN[kind] or name.startswith(PREFIX)
            if reserved or self._added[kind].get(name, definition) is not definition:
                existing = f"a {kind} '{name}'".replace("dataset", "data set")
                raise BenchError(f"{path.name}: {existing} exists already; choose another name")
            self._added[kind][name] = definition
            self._sources[kind, name] = source


BUILTIN = Registry(enabled=False)


def _execute(path: Path, content: bytes) -> ModuleType:
    """Execute a plugin file and return its module; an unchanged file is executed only once."""
    name = f"distillbench_plugin_{path.stem}_{_digest(str(path).encode() + content)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    if path.suffix != ".py":
        raise BenchError(f"'{path.name}' is not a Python file. Allowed: files ending in .py")
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    try:  # an import could use a cached .pyc file of an older content
        exec(compile(content, path, "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BenchError(f"{path.name}:{_line(error, path)}: {_reason(error)}") from error
    return module


def _line(error: BaseException, path: Path) -> int:
    """Return the file's last line number in the error's traceback; 1 if there is none."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 1 for f in reversed(frames) if f.filename == str(path)), 1)


def _reason(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _definitions(
    module: ModuleType, path: Path, digest: str
) -> Iterator[tuple[Kind, str, Any, str]]:
    """Yield the kind, name, object and file's SHA-256 of each definition in a plugin."""
    for distiller in filter(inspect.isclass, vars(module).values()):
        inside = f"{distiller.__module__}.".startswith(f"{module.__name__}.")  # or a submodule
        if not (inside and issubclass(distiller, Distiller)) or inspect.isabstract(distiller):
            continue
        _check(distiller, path)
        file = Path(inspect.getfile(distiller))
        source = digest if file == path else _digest(file.read_bytes())
        yield "distiller", distiller.__name__.lower(), distiller, source
    for table, kind in _TABLES.items():
        content = getattr(module, table, {})
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise BenchError(f"{path.name}: {table} is not a dict with names as keys")
        for name, definition in content.items():
            yield kind, name, definition, digest


def _check(distiller: type[Distiller], path: Path) -> None:
    """Raise BenchError if class attributes or constructor break the rules of `Distiller`."""
    where = f"{path.name}:{inspect.getsourcelines(distiller)[1]}: {distiller.__name__}"
    features = [field.name for field in fields(Features)]
    reads = getattr(distiller, "reads", None)
    if not isinstance(reads, tuple) or not set(reads) <= set(features):
        allowed = ", ".join(repr(name) for name in features)
        raise BenchError(f"{where}.reads is not a tuple of features. Allowed in it: {allowed}")
    if not isinstance(getattr(distiller, "paper", None), str):
        raise BenchError(f"{where}.paper is missing. Allowed: a text that names the source")
    parameters = list(inspect.signature(distiller.__init__).parameters)
    if len(parameters) < 2:
        raise BenchError(f"{where}.__init__ takes no setting. Allowed: (self, setting, *, options)")
    if "weight" in parameters:
        raise BenchError(f"{where} has an option 'weight'; this key sets the loss's weight")
    try:
        inspect.get_annotations(distiller.__init__, eval_str=True)
    except Exception as error:
        raise BenchError(f"{where}.__init__ has types that are not defined: {error}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
