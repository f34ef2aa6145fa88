"""Read, validate, resolve and render suites, the YAML files that describe a benchmark."""

import os
from collections.abc import Sequence
from pathlib import Path

from bench.config import loader
from bench.config.fields import validate
from bench.errors import ConfigError
from bench.plugins import Registry
from bench.suite import files
from bench.suite.checks import check, warnings
from bench.suite.files import canonical, find, shipped
from bench.suite.render import at_line, render
from bench.suite.resolution import Resolver, papers
from bench.suite.schema import (
    Checkpoint,
    InitialWeights,
    Method,
    Pair,
    Suite,
    SuiteFile,
    Teacher,
)
from bench.suite.spaces import check_tuning

__all__ = [
    "Checkpoint",
    "InitialWeights",
    "Method",
    "Pair",
    "Suite",
    "Teacher",
    "at_line",
    "canonical",
    "find",
    "papers",
    "read",
    "render",
    "shipped",
    "warnings",
]

MAX_NAME_BYTES = 150  # limit for a suite's name, without the ending


def read(path: Path, changes: Sequence[str] = (), *, plugins: bool = True) -> Suite:
    """Read, validate and resolve a suite file.

    Args:
        path: The file; `find` returns the file of a shipped suite.
        changes: Changes such as `recipe.epochs=2`, applied in this order.
        plugins: False: refuse the suite's plugins, and ignore installed ones.

    Returns:
        The suite, with every default filled in.

    Raises:
        ConfigError: The suite or a change is invalid. The message lists all problems.
    """
    if (size := len(os.fsencode(path.stem))) > MAX_NAME_BYTES:
        problem = f"the file's name has {size} bytes. Allowed: at most {MAX_NAME_BYTES}"
        raise ConfigError([f"{path}: {problem}; tables and figures begin with it"])
    source = loader.apply(loader.load(path), changes)
    registry = Registry(enabled=plugins)
    plugin_files, problems = files.load_plugins(source.data, path.parent, registry)
    file, invalid = validate(source.data, SuiteFile)
    problems += [*source.problems, *invalid, *check(source, registry)]
    problems += check_tuning(source, registry)
    checkpoints, missing = files.checkpoints(file, path.parent) if file else ({}, [])
    init, absent = files.initial_weights(file, path.parent) if file else ({}, [])
    problems += [*missing, *absent, *(file.conflicts() if file else ())]
    if file is None or problems or source.refused:
        raise ConfigError(source.format(dict.fromkeys(problems)))
    registry.options = {n: entry.options for n, entry in file.networks.items() if entry.options}
    return Resolver(path, source, file, registry, checkpoints, init).suite(plugin_files)
