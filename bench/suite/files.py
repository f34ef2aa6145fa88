"""Find this package's suites, and load the plugins and checkpoints that a suite names."""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.config import loader
from bench.config.text import Problem, Where
from bench.errors import BenchError, ConfigError, nearest
from bench.plugins import Registry
from bench.suite.parts import FileEntry, TermEntry, Terms
from bench.suite.schema import (
    Checkpoint,
    InitialWeights,
    SuiteFile,
)

MAX_CHECKPOINT_BYTES = 8 * 1024**3
_PACKAGE = Path(__file__).parents[1]
_terms: TypeAdapter[dict[str, TermEntry]] = TypeAdapter(Terms)


def shipped() -> list[Path]:
    """Return the paths of the shipped suites, in the installed package or in the checkout."""
    folders = (_PACKAGE / "suites", _PACKAGE.parent / "suites")
    folder = next((f for f in folders if f.is_dir()), folders[0])
    return sorted(folder.glob("*.yaml"))


def find(name: str | Path) -> Path:
    """Return the file of a suite.

    Args:
        name: A path, or a shipped suite's name with or without `.yaml`. Existing files have
            priority over shipped suites.

    Raises:
        ConfigError: The suite does not exist; the message names the nearest shipped suite.
    """
    path = Path(name)
    with suppress(OSError, RuntimeError):  # an invalid path, or an unknown user after ~
        path = path.expanduser()
        if path.is_file():
            return path
    suites = {file.stem: file for file in shipped()}
    stem = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if path.parent in (Path(), Path("suites")) and stem in suites:
        return suites[stem]
    problem = "a folder" if path.is_dir() else "no such suite"
    if os.path.lexists(path) and not path.is_dir():
        problem = "not a file" if os.path.exists(path) else "a link to a missing file"
    allowed = f"a suite file, {', '.join(suites)}"
    raise ConfigError([f"{name}: {problem}.{nearest(stem, suites)} Allowed: {allowed}"])


@cache
def canonical() -> dict[str, dict[str, Any]]:
    """Return label, terms and source of each method in distillers/methods.yaml, by its name."""
    text = resources.files("distillers").joinpath("methods.yaml").read_text("utf-8")
    return loader.parse(text, "distillers/methods.yaml").data


def canonical_terms(name: str) -> dict[str, TermEntry]:
    """Return the terms (weighted distillers) of a method in methods.yaml; empty for other names."""
    return _terms.validate_python(canonical()[name]["terms"]) if name in canonical() else {}


def canonical_pairs(name: str) -> dict[str, dict[str, TermEntry]]:
    """Return a method's terms by pair, for pairs with their own terms in methods.yaml."""
    entries = canonical().get(name, {}).get("pairs", {})
    usual = {k: v.model_dump(exclude_unset=True) for k, v in canonical_terms(name).items()}
    return {
        pair: _terms.validate_python({k: v | changes.get(k, {}) for k, v in usual.items()})
        for pair, changes in entries.items()
    }


def default_label(name: str, terms: Collection[str]) -> str:
    """Return the method's label in methods.yaml if `terms` are its distillers; else its name."""
    usual = canonical_terms(name).keys() == set(terms)
    return str(canonical()[name]["label"]) if usual and name in canonical() else name


def load_plugins(
    data: Mapping[str, Any], folder: Path, registry: Registry
) -> tuple[tuple[Path, ...], list[Problem]]:
    """Load installed plugins and the suite's plugins; return the suite's files and problems."""
    paths: list[Path] = []
    problems: list[Problem] = []
    with _collect(problems, ()):
        registry.load_installed()
    names = data.get("plugins")
    for i, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and name and "\n" not in name:
            with _collect(problems, ("plugins", i), name):
                paths.append(_resolve(folder, name))
                registry.load(paths[-1])
    return tuple(paths), problems


def checkpoints(file: SuiteFile, folder: Path) -> tuple[dict[str, Checkpoint], list[Problem]]:
    """Return the teachers' checkpoints by network, and the problems of missing or wrong files."""
    by_network: dict[str, Checkpoint] = {}
    problems: list[Problem] = []
    for network, entry in file.teachers.checkpoints.items():
        with _collect(problems, ("teachers", "checkpoints", network), entry.path):
            path = _resolve(folder, entry.path)
            by_network[network] = Checkpoint(
                path, _sha256(entry, path), entry.top1, entry.tolerance
            )
    return by_network, problems


def initial_weights(
    file: SuiteFile, folder: Path
) -> tuple[dict[str, InitialWeights], list[Problem]]:
    """Return the files of initial weights by network, and the problems of unusable files."""
    by_network: dict[str, InitialWeights] = {}
    problems: list[Problem] = []
    for network, entry in file.networks.items():
        if entry.init:
            with _collect(problems, ("networks", network, "init"), entry.init.path):
                path = _resolve(folder, entry.init.path)
                by_network[network] = InitialWeights(path, _sha256(entry.init, path))
    return by_network, problems


@contextmanager
def _collect(problems: list[Problem], where: Where, name: str = "") -> Iterator[None]:
    """Turn an error of a `with` block into a problem; `name` is a file as the suite names it."""
    try:
        yield
    except BenchError as error:
        problems.append(Problem(where, str(error)))
    except (OSError, RuntimeError) as error:  # RuntimeError: unknown user after ~, loop of links
        reason = error.strerror if isinstance(error, OSError) else error
        problems.append(Problem(where, f"'{name}' cannot be read: {reason}"))


def _resolve(folder: Path, name: str) -> Path:
    """Return the absolute path of a file that a suite in `folder` names."""
    return (folder / Path(name).expanduser()).resolve()


def _sha256(entry: FileEntry, path: Path) -> str:
    """Return the SHA-256 of a file; for a file that does not exist, the SHA-256 of the entry."""
    digest = entry.sha256
    if path.is_dir():
        raise BenchError(
            f"'{path}' is a folder. Allowed: a file, such as a file of weights in this folder"
        )
    if path.is_file():
        if (size := path.stat().st_size) > MAX_CHECKPOINT_BYTES:
            raise BenchError(
                f"'{path}' has {size:,} bytes. Allowed: at most {MAX_CHECKPOINT_BYTES:,}"
            )
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if entry.sha256 not in (None, digest):
            raise BenchError(f"the SHA-256 of '{path}' is {digest}. Allowed: {entry.sha256}")
    if digest is None:
        raise BenchError(
            f"no file '{path}'. Allowed: an existing file; "
            "or the key sha256, if another machine has the file"
        )
    return digest
