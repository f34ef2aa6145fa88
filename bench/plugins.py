"""Plugins: a user's own distillers, networks and data sets, in a file or an installed package.

A plugin is a Python file that a suite names under `plugins`, or a module that an installed package
names as an entry point of the group `distillbench.plugins`. A plugin defines subclasses of
`Distiller`, `NETWORKS = {name: builder(classes)}` or `DATASETS = {name: source}`. A plugin may
import these definitions from other modules of its folder or package. A `Registry` holds the names
that one suite can use. Two suites with different plugins can be open in one process.
"""

import inspect
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import distillers
from bench import data, models
from bench.data import Source
from bench.data.base import PREFIX
from bench.errors import BenchError, nearest
from bench.plugin_modules import Sources
from distillers import Declaration
from distillers.declaration import FeatureName

if TYPE_CHECKING:
    from torch import nn

    from distillers import Distiller

GROUP = "distillbench.plugins"

RESERVED = ("label",)  # keys of a method that are not distillers
TERM_KEYS = ("weight", "warmup")  # keys of a method's distiller that are not its options

Kind = Literal["distiller", "network", "dataset"]
_TABLES: Mapping[str, Kind] = {"NETWORKS": "network", "DATASETS": "dataset"}
_BUILTIN: Mapping[Kind, frozenset[str]] = {
    "distiller": frozenset(distillers.names()),
    "network": frozenset(models.names()),
    "dataset": frozenset(data.names()),
}


class Registry:
    """Distillers, networks and data sets: the built-in ones, and additions of a suite's plugins.

    Two registries are equal if their plugins define the same names in files with the same SHA-256,
    and their networks have the same options.

    Attributes:
        enabled: Whether plugins may be loaded.
        options: Arguments for the constructors of timm's and torchvision's networks, by name.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.options: Mapping[str, Mapping[str, Any]] = {}
        self._added: dict[Kind, dict[str, Any]] = {kind: {} for kind in _BUILTIN}
        self._sources: dict[tuple[Kind, str], str] = {}  # SHA-256 of the defining plugin
        self._files: set[str] = set()  # paths of the files of all plugins

    @classmethod
    def of(cls, files: Iterable[Path], *, enabled: bool = True) -> "Registry":
        """Return a registry of the built-in names, the installed plugins and the given files.

        Args:
            files: The plugin files of a suite.
            enabled: Whether plugins may be loaded; if False, `files` must be empty.

        Raises:
            BenchError: A plugin is invalid, or plugins are disabled.
        """
        registry = cls(enabled=enabled)
        registry.load_installed()
        for file in files:
            registry.load(file)
        return registry

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Registry):
            return NotImplemented
        return self._sources == other._sources and self.options == other.options

    def __hash__(self) -> int:
        return hash((frozenset(self._sources.items()), frozenset(self.options)))

    @property
    def has_plugins(self) -> bool:
        """Whether a plugin is loaded."""
        return bool(self._files)

    @property
    def datasets(self) -> Mapping[str, Source]:
        """The plugins' data sets by name, for `data.facts` and `data.load`."""
        return self._added["dataset"]

    def distiller(self, name: str) -> "type[Distiller]":
        """Return the class of a distiller; raise KeyError if the name is unknown."""
        return self._added["distiller"].get(name) or distillers.load(name)

    def declaration(self, name: str) -> type[Declaration]:
        """Return the options and attributes of a distiller; a built-in one does not need torch."""
        return self._added["distiller"].get(name) or distillers.declared(name)

    def build_network(
        self,
        name: str,
        classes: int,
        size: int | None = None,
        stages: Sequence[str] = (),
        drop_path: float = 0.0,
        *,
        pretrained: bool = False,
    ) -> "nn.Module":
        """Return a new network, built-in or of a plugin, with the suite's options for the network.

        Args:
            name: See `models.build`.
            classes: See `models.build`.
            size: See `models.build`.
            stages: See `models.build`.
            drop_path: Largest probability of stochastic depth in training; networks of timm only.
            pretrained: See `models.build`.
        """
        options = dict(self.options.get(name, {}))
        if drop_path:
            options["drop_path_rate"] = drop_path
        added = self._added["network"]
        return models.build(name, classes, size, added, stages, options, pretrained=pretrained)

    def names(self, kind: Kind) -> list[str]:
        """Return the sorted names of all distillers, networks or data sets.

        Names that start with `timm:`, `torchvision:` or `folder:` are left out.
        """
        return sorted({*_BUILTIN[kind], *self._added[kind]})

    def source_of(self, kind: Kind, name: str) -> str | None:
        """Return the SHA-256 of the plugin that defines a name; None for built-in names.

        The hash covers the plugin's file and the modules of its folder that the file imports. For
        an installed package, the hash covers all modules of the package.
        """
        return self._sources.get((kind, name))

    def describe_error(
        self, error: BaseException, raised_by: "type[Distiller] | None" = None
    ) -> str:
        """Return an error's type and message, with a line of a plugin: `… (my_method.py:23)`.

        The line is the last line of a plugin in the error's traceback.

        Args:
            error: The error.
            raised_by: The distiller that was called. If the traceback has no line of a plugin, the
                line of this class's `forward` is named. For example, a `forward` with a wrong
                number of parameters fails before its first line.
        """
        frames = traceback.extract_tb(error.__traceback__)
        frame = next((f for f in reversed(frames) if f.filename in self._files), None)
        place = f" ({Path(frame.filename).name}:{frame.lineno})" if frame else ""
        if not frame and raised_by:
            code = raised_by.forward.__code__
            place = f" ({Path(code.co_filename).name}:{code.co_firstlineno})"
        return f"{_reason(error)}{place}"

    def add_placeholders(self, uses_teacher: Mapping[str, bool]) -> None:
        """Add a class without code for each distiller that this registry does not have.

        Tables of saved results need the names of distillers, but not their code.

        Args:
            uses_teacher: Whether a distiller's loss depends on the teacher, by its name.
        """
        for name, uses in uses_teacher.items():
            if name not in self.names("distiller"):
                members = {"paper": "", "reads": (), "uses_teacher": uses}
                self._added["distiller"][name] = type(name.capitalize(), (Declaration,), members)

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
        if path.suffix != ".py":
            raise BenchError(f"'{path.name}' is not a Python file. Allowed: files ending in .py")
        sources = Sources.of_file(path)
        try:
            module = sources.load()
        except (Exception, SystemExit) as error:
            place = f"{path.name}:{_line(error, path)}"
            raise BenchError(f"{place}: {_reason(error)}{_origin(error, sources)}") from error
        self._add_module(module, sources)

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
            self._add_module(module, Sources.of_module(module))

    def _add_module(self, module: ModuleType, sources: Sources) -> None:
        path, digest = sources.path, sources.sha256
        definitions = list(_definitions(module, sources))
        if not definitions:
            allowed = "subclasses of Distiller, NETWORKS = {…}, DATASETS = {…}"
            raise BenchError(f"{path.name} defines nothing to benchmark. Allowed: {allowed}")
        self._files |= {str(file) for file in sources.contents}
        for kind, name, definition in definitions:
            reserved = name in _BUILTIN[kind] or name.startswith(PREFIX)
            if reserved or self._added[kind].get(name, definition) is not definition:
                existing = f"a {kind} '{name}'".replace("dataset", "data set")
                raise BenchError(f"{path.name}: {existing} exists already; choose another name")
            self._added[kind][name] = definition
            self._sources[kind, name] = digest


BUILTIN = Registry(enabled=False)


def _line(error: BaseException, path: Path) -> int:
    """Return the number of the last line of `path` in the error's traceback; 1 if none."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 1 for f in reversed(frames) if f.filename == str(path)), 1)


def _origin(error: BaseException, sources: Sources) -> str:
    """Return the place of an error in another module of the plugin: ` (helpers.py:12)`.

    The text is empty if the error was raised in the plugin's file or outside the plugin.
    """
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 1
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        file, line = frame.filename, frame.lineno or 1
    path = Path(file)
    is_other = path in sources.contents and path != sources.path
    return f" ({path.name}:{line})" if is_other else ""


def _reason(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _definitions(module: ModuleType, sources: Sources) -> Iterator[tuple[Kind, str, Any]]:
    """Yield the kind, the name and the object of each distiller, network and data set."""
    from distillers import Distiller

    path = sources.path
    for distiller in filter(inspect.isclass, vars(module).values()):
        if not issubclass(distiller, Distiller) or inspect.isabstract(distiller):
            continue
        if distiller is not Distiller and Path(inspect.getfile(distiller)) in sources.contents:
            _check(distiller, path)
            yield "distiller", distiller.__name__.lower(), distiller
    for table, kind in _TABLES.items():
        content = getattr(module, table, {})
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise BenchError(f"{path.name}: {table} is not a dict with names as keys")
        for name, definition in content.items():
            yield kind, name, definition


def _check(distiller: "type[Distiller]", path: Path) -> None:
    """Raise BenchError if a class breaks a rule of `Distiller` in its attributes or constructor."""
    where = f"{path.name}:{inspect.getsourcelines(distiller)[1]}: {distiller.__name__}"
    if distiller.__name__.lower() in RESERVED:
        raise BenchError(
            f"{where}: methods in suites already have a key {', '.join(RESERVED)}; rename the class"
        )
    features = get_args(FeatureName)
    for attribute in ("reads", "teacher_reads"):
        reads = getattr(distiller, attribute, None)
        if attribute == "teacher_reads" and reads is None:
            continue
        if not isinstance(reads, tuple) or not set(reads) <= set(features):
            allowed = ", ".join(repr(name) for name in features)
            message = f"{where}.{attribute} is not a tuple of features. Allowed in it: {allowed}"
            raise BenchError(message)
    if not isinstance(getattr(distiller, "paper", None), str):
        raise BenchError(f"{where}.paper is missing. Allowed: a text that names the source")
    parameters = list(inspect.signature(distiller.__init__).parameters)
    if len(parameters) < 2:
        raise BenchError(f"{where}.__init__ takes no setting. Allowed: (self, setting, *, options)")
    if reserved := [name for name in TERM_KEYS if name in parameters]:
        raise BenchError(
            f"{where}: rename the option '{reserved[0]}', because suites already use this key"
        )
    try:
        inspect.get_annotations(distiller.__init__, eval_str=True)
    except Exception as error:
        raise BenchError(f"{where}.__init__ has types that are not defined: {error}") from error
