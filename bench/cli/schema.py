"""The verb `schema`: print the JSON Schema of suites or cluster files."""

from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from bench.cli import options
from bench.cli.console import echo, print_files
from bench.errors import BenchError

MODELINE = "# yaml-language-server: $schema="  # a first line with which editors choose a schema


def command(
    what: Annotated[
        Literal["suite", "cluster"],
        Argument(metavar="WHAT", help="suite, or cluster (the file of --cluster)."),
    ] = "suite",
    output: Annotated[
        Path | None,
        Option(metavar="FILE", dir_okay=False, help="Write to this file instead of printing."),
    ] = None,
    plugin: Annotated[
        list[Path] | None,
        Option(metavar="FILE", help="Add the names and options of a plugin. Repeatable."),
    ] = None,
    no_plugins: options.NoPlugins = False,
) -> None:
    """Print the JSON Schema of suites, with which editors check them.

    It has every key with its meaning, allowed values, default and an example, and the names and
    options of all distillers, also those of installed plugins.

    Example: bench schema --output suite.schema.json
    """
    from bench.config.text import as_json
    from bench.results.files import write_atomic

    text = as_json(content(what, plugin or [], plugins=not no_plugins))
    if output is None:
        echo(text)
        return
    if not output.parent.is_dir():
        raise BenchError(f"--output {output}: no folder '{output.parent}'")
    write_atomic(output, f"{text}\n".encode())
    print_files([output])
    echo(f"First line of a file in the same folder: {MODELINE}{output.name}")


def content(what: str, files: list[Path], *, plugins: bool) -> dict[str, Any]:
    """Return the JSON Schema of suites or of cluster files.

    Args:
        what: `suite` or `cluster`.
        files: Plugins whose names and options a suite can use.
        plugins: Whether plugins may be loaded, those of installed packages included.
    """
    from bench.execution.cluster import ClusterFile
    from bench.plugins import Registry
    from bench.suite import json_schema

    if what == "cluster":
        return json_schema.of_model(ClusterFile, "distillbench cluster file")
    return json_schema.of_suites(Registry.of(files, enabled=plugins))
