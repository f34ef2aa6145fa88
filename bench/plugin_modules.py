"""Find, hash and load the modules of a plugin.

A plugin is a user's Python file. Its import statements show which modules of its folder belong to
the plugin. All these modules are loaded from source, and one hash covers their contents.
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

PREFIX = "distillbench_plugin_"  # start of the names that plugin files have in sys.modules


@dataclass(frozen=True)
class Sources:
    """A plugin's file, and the modules of its folder that it imports, directly or indirectly.

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
                waiting += _imported(contents[file], file, path.parent)
        return cls(path, contents)

    @classmethod
    def of_module(cls, module: ModuleType) -> "Sources":
        """Return the sources of an installed module.

        These are all Python files of its package. For a module outside a package, they are the
        sources that `of_file` returns.
        """
        path = Path(module.__file__ or "")
        package = sys.modules[module.__name__.partition(".")[0]]
        if not hasattr(package, "__path__"):
            return cls.of_file(path)
        folders = map(Path, package.__path__)
        files = sorted(file for folder in folders for file in folder.rglob("*.py"))
        return cls(path, {file: file.read_bytes() for file in files})

    @property
    def sha256(self) -> str:
        """The SHA-256 of a single file's content, or of the names and contents of all files."""
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
        """Return the module of the plugin's file; if it is loaded already, it is not run again."""
        folder = hashlib.sha256(f"{self.path}\t{self.sha256}".encode("utf-8", "surrogateescape"))
        package = f"{PREFIX}{folder.hexdigest()[:16]}"
        name = f"{package}.{self.path.stem}"
        if name in sys.modules:
            return sys.modules[name]
        SIBLINGS.add(self.path.parent, self.contents)
        parent = sys.modules[package] = ModuleType(package)  # for relative imports
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
        self._contents: dict[str, bytes] = {}

    def add(self, folder: Path, contents: Mapping[Path, bytes]) -> None:
        """Make the modules of a folder importable; they replace earlier modules of equal names."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for path, content in contents.items():
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if (self._files.get(name), self._contents.get(name)) == (path, content):
                continue
            if name in self._files:  # another plugin's module, or an older version of this one
                sys.modules.pop(name, None)
            self._files[name], self._contents[name] = path, content

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
            if file and (parent not in self._files if parent else _is_installed(name, file)):
                return None
        if file is None:
            return None
        loader = _SourceLoader(name, str(file))
        return importlib.util.spec_from_file_location(name, file, loader=loader)


SIBLINGS = _SiblingFinder()


def _is_installed(name: str, file: Path) -> bool:
    """Return whether an import of this name would load a module other than the file."""
    spec = PathFinder.find_spec(name)
    is_other = spec is not None and spec.origin != str(file)
    return is_other or name in sys.builtin_module_names


def _imported(content: bytes, file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files that a module imports from a folder, with `__init__.py` of packages."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # the error is reported when the file is executed
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(folder, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            top = folder if not node.level else [file, *file.parents][node.level]
            if top.is_relative_to(folder):
                for alias in node.names:
                    yield from _files_of(top, [*parts, alias.name])


def _files_of(top: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files that importing `a.b.c` executes: a, a.b and a.b.c, if they exist."""
    for count in range(1, len(parts) + 1):
        for candidate in _candidates(top.joinpath(*parts[: count - 1]), parts[count - 1]):
            if candidate.is_file():
                yield candidate
                break


def _candidates(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name / "__init__.py", folder / f"{name}.py"
