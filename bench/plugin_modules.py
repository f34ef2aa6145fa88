"""Find, hash and load the modules of a plugin.

A plugin is a user's Python file. Its import statements show which modules of its folder belong to
the plugin. All these modules are loaded from source, and one hash covers their contents. The hash
also covers the files whose names are strings in these modules, such as "table.json". If a string
names a folder, such as "src", imports are also searched in that folder.
"""

import ast
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

DATA = (".json", ".yaml", ".yml", ".toml", ".csv", ".tsv", ".txt", ".npy", ".npz", ".pt", ".pth")
NAMED = frozenset((".py", ".pkl", ".safetensors", *DATA))  # endings of strings that may name a file
PREFIX = "distillbench_plugin_"  # start of the names that plugin files have in sys.modules


@dataclass(frozen=True)
class Sources:
    """A plugin's file, and the files of its folder that this file imports or names in strings.

    Files that these files import or name are included, too.

    Attributes:
        path: The plugin's file.
        contents: Content of each file, by its path.
    """

    path: Path
    contents: Mapping[Path, bytes]

    @classmethod
    def of_file(cls, path: Path) -> "Sources":
        """Return the sources of a plugin file; imports inside functions are included."""
        contents: dict[Path, bytes] = {}
        waiting = [path]
        while waiting:
            file = waiting.pop()
            if file not in contents:
                contents[file] = file.read_bytes()
                if file.suffix == ".py":
                    waiting += _used(contents[file], file, path.parent)
        return cls(path, contents)

    @classmethod
    def of_module(cls, module: ModuleType) -> "Sources":
        """Return the sources of an installed module.

        The sources are all files of the module's package, without compiled and hidden files. If the
        module is not in a package, `of_file` returns the sources.
        """
        path = Path(module.__file__ or "")
        package = sys.modules[module.__name__.partition(".")[0]]
        if not hasattr(package, "__path__"):
            return cls.of_file(path)
        folders = map(Path, package.__path__)
        files = sorted(
            file
            for folder in folders
            for file in folder.rglob("*")
            if file.is_file() and not _is_ignored(file.relative_to(folder))
        )
        return cls(path, {file: file.read_bytes() for file in files})

    @property
    def sha256(self) -> str:
        """The SHA-256 of a single file's content, or of the names and contents of several files."""
        digests = {path: hashlib.sha256(content) for path, content in self.contents.items()}
        if len(digests) == 1:
            return digests[self.path].hexdigest()
        lines = {f"{self._name(path)}\t{digest.hexdigest()}\n" for path, digest in digests.items()}
        return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()

    def _name(self, path: Path) -> str:
        """Return the file's path relative to the folder that contains all files of the plugin.

        An absolute path would change the hash if the plugin moved.
        """
        return path.relative_to(os.path.commonpath(p.parent for p in self.contents)).as_posix()

    def load(self) -> ModuleType:
        """Return the module of the plugin's file; a loaded module is not run again."""
        folder = hashlib.sha256(f"{self.path}\t{self.sha256}".encode("utf-8", "surrogateescape"))
        package = f"{PREFIX}{folder.hexdigest()[:16]}"
        name = f"{package}.{self.path.stem}"
        if name in sys.modules:
            return sys.modules[name]
        SIBLINGS.add(self.path.parent, self.contents)
        parent = sys.modules[package] = ModuleType(package)  # relative imports need this package
        parent.__path__ = [str(self.path.parent)]
        spec = importlib.util.spec_from_loader(name, _SourceLoader(name, str(self.path)))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            for loaded in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
                del sys.modules[loaded]
            raise
        return module


class _SourceLoader(SourceFileLoader):
    """Compiles the source at each load, because a cached .pyc may belong to older source."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module."""
        code: CodeType = compile(self.get_data(self.path), self.path, "exec", dont_inherit=True)
        return code


class _SiblingFinder(MetaPathFinder):
    """Finds the modules in the folders of plugins; installed modules have priority.

    Only modules that a plugin imports are found. Other files of the folder are never executed.
    """

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}  # by the module's name
        self._contents: dict[Path, bytes] = {}

    def add(self, folder: Path, contents: Mapping[Path, bytes]) -> None:
        """Make the modules of a folder importable, in place of earlier modules of equal names."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        names = {}
        for path in (path for path in contents if path.suffix == ".py"):
            parts = path.relative_to(folder).with_suffix("").parts
            names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        is_edited = any(self._contents.get(p, text) != text for p, text in contents.items())
        stale = {name for name, path in names.items() if self._files.get(name, path) != path}
        if is_edited:
            stale |= {name for name, module in [*sys.modules.items()] if _file(module) in contents}
        for name in stale:
            if not name.startswith(PREFIX):
                sys.modules.pop(name, None)
            while name := name.rpartition(".")[0]:  # parent packages keep their modules
                if name in sys.modules and _file(sys.modules[name]) is None:
                    del sys.modules[name]
        self._files |= names
        self._contents |= contents

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the import specification of a module; None if no plugin contains the module."""
        parent, _, last = name.rpartition(".")
        if name.startswith(PREFIX) and path:  # a relative import
            files = _candidates(Path(path[0]), last)
            file = next((candidate for candidate in files if candidate.is_file()), None)
        else:
            file = self._files.get(name)
            if file is None and any(module.startswith(f"{name}.") for module in self._files):
                return self._namespace(name)
            is_installed = file and not parent and _is_installed(name, file)
            if is_installed or (parent and not self._is_own(parent)):
                return None
        if file is None:
            return None
        loader = _SourceLoader(name, str(file))
        return importlib.util.spec_from_file_location(name, file, loader=loader)

    def _is_own(self, name: str) -> bool:
        """Return whether a package, with or without an `__init__.py`, belongs to a plugin."""
        return any(module == name or module.startswith(f"{name}.") for module in self._files)

    def _namespace(self, name: str) -> ModuleSpec | None:
        """Return the spec of a package without `__init__.py`; None if the name is in use."""
        if "." not in name and PathFinder.find_spec(name) is not None:
            return None
        return ModuleSpec(name, None, is_package=True)


SIBLINGS = _SiblingFinder()


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def _is_installed(name: str, file: Path) -> bool:
    """Return whether an import of this name would load another module than `file`."""
    spec = PathFinder.find_spec(name)
    is_other = spec is not None and spec.origin != str(file)
    return is_other or name in sys.builtin_module_names


def _used(content: bytes, file: Path, folder: Path) -> Iterator[Path]:
    """Yield each file in `folder` that a module imports or names in a string."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # the error is reported when the file is executed
        return
    named = [path for path in _named(tree, file, folder) if path != folder]
    yield from filter(Path.is_file, named)
    roots = [folder, *(path for path in named if path.is_dir())]
    for node in ast.walk(tree):
        for level, parts in _imports(node):
            tops = [[file, *file.parents][level]] if level else roots
            for top in tops:
                if top.is_relative_to(folder):
                    yield from _files_of(top, parts)


def _imports(node: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of leading dots and the list of name parts of each imported module."""
    if isinstance(node, ast.Import):
        yield from ((0, alias.name.split(".")) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = node.module.split(".") if node.module else []
        yield from ((node.level, [*parts, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        function = node.func.id if isinstance(node.func, ast.Name) else function
        name = node.args[0].value
        if function in ("import_module", "__import__") and isinstance(name, str):
            parts = name.lstrip(".").split(".")
            yield len(name) - len(name.lstrip(".")), parts


def _named(tree: ast.AST, file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files and folders inside `folder` whose paths are strings in a module."""
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value}
    paths = sorted(
        text for text in texts if isinstance(text, str) and len(text) < 256 and text.isprintable()
    )
    starts = dict.fromkeys((file.parent, folder))
    starts |= {start / text: None for start in starts for text in paths if (start / text).is_dir()}
    for path in (Path(os.path.normpath(start / text)) for start in starts for text in paths):
        if path.is_relative_to(folder) and (path.is_dir() or path.suffix in NAMED):
            yield path


def _is_ignored(path: Path) -> bool:
    """Return whether a file of a package is omitted, because it is compiled or hidden."""
    is_hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return is_hidden or path.suffix in (".pyc", ".pyo")


def _files_of(top: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files that importing `a.b.c` executes: a, a.b and a.b.c, if they exist."""
    for count in range(1, len(parts) + 1):
        for candidate in _candidates(top.joinpath(*parts[: count - 1]), parts[count - 1]):
            if candidate.is_file():
                yield candidate
                break


def _candidates(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name / "__init__.py", folder / f"{name}.py"
