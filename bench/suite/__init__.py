"""Suite files: read, validated with all problems at once, resolved, rendered."""

from collections.abc import Sequence
from pathlib import Path

from bench.config import loader, overrides
from bench.config.errors import validate
from bench.errors import ConfigError
from bench.plugins import Registry
from bench.suite import files
from bench.suite.builtin import canonical, find, papers, shipped
from bench.suite.references import References, check
from bench.suite.render import render
from bench.suite.resolution import Resolver
from bench.suite.resolved import Checkpoint, Method, Pair, Suite, Teacher
from bench.suite.schema import SuiteFile
from bench.suite.warnings import warnings

__all__ = [
    "Checkpoint",
    "Method",
    "Pair",
    "Suite",
    "Teacher",
    "canonical",
    "find",
    "papers",
    "read",
    "render",
    "shipped",
    "warnings",
]


def read(path: Path, changes: Sequence[str] = (), *, plugins: bool = True) -> Suite:
    """Read, validate and resolve a suite file.

    Args:
        path: The file; `find` returns that of a shipped suite.
        changes: Changes such as `recipe.epochs=2`, made in their order.
        plugins: False: refuse the suite's plugins, and ignore installed ones.

    Returns:
        The suite, with every default filled in.

    Raises:
        ConfigError: All problems of the file, by line, then those of the changes.
    """
    source = overrides.apply(loader.load(path), changes)
    registry = Registry(enabled=plugins)
    plugin_files, problems = files.load_plugins(source.data, path.parent, registry)
    references = References(registry)
    file, invalid = validate(source.data, SuiteFile, references)
    if file is None:  # an unknown name must not hide other problems
        file, more = validate(source.data, SuiteFile)
        invalid += more
    problems += [*source.document.problems, *invalid, *check(source, references)]
    checkpoints: dict[str, Checkpoint] = {}
    if file is not None:
        checkpoints, missing = files.checkpoints(file, path.parent)
        problems += [*missing, *file.conflicts()]
    if file is None or problems or source.refused:
        raise ConfigError(source.format(dict.fromkeys(problems)))
    return Resolver(path, source, file, registry, checkpoints).suite(plugin_files)
