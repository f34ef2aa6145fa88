"""The command `bench`: its verbs (subcommands), their help, and its exit codes."""

import gc
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bench.cli.console import handle_errors

INTERNAL_ERROR = 5  # exit code of a bug in bench; Python's own code, 1, here means a regression
# The garbage collector waits for this number of new objects; Python's 700 slow imports by 15 %.
MIN_NEW_OBJECTS = 50_000
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,  # importing rich takes three times as long as all other imports
    "pretty_exceptions_enable": False,
}


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
HELP = "Benchmarks of knowledge distillation: suites in YAML, tables as in the papers."
VERBS = {  # shown by --help, which imports no verb's module
    "run": "Run a suite, then print and write its table.",
    "plan": "Show the runs that are to do, done or skipped, and their cost.",
    "status": "Count a suite's runs by state; list why runs have no result.",
    "report": "Print and write a suite's table or report card, from records.",
    "figures": "Draw a suite's figures, as PNG and PDF, from its records.",
    "baseline": "Save a suite's means and standard deviations, for `check`.",
    "check": "Compare records with a baseline, or with the papers' tables.",
    "compare": "Compare two results folders.",
    "merge": "Merge results folders by run id; tell where numbers differ.",
    "site": "Write a static site of suites, leaderboards, methods and records.",
    "sync": "Log the records that MLflow does not have yet.",
    "list": "List suites, methods, distillers, networks or datasets.",
    "show": "Print a suite with every value and its origin.",
    "validate": "Check suites; print each mistake with its line, and warnings.",
    "new": "Write a new distiller, network or dataset, with a test and a suite.",
    "schema": "Print the JSON Schema of suites, with which editors check them.",
    "teachers": "Show each teacher of a suite: origin, accuracy, weights.",
    "ui": "Start MLflow's web interface for a results folder.",
    "clean": "List or remove checkpoints of ended runs, logs and partial files.",
}


class LazyGroup(TyperGroup):
    """A command group that imports a verb's module only when the verb is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # get_command loads them

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a verb; None for an unknown verb."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"bench.cli.{cmd_name}").command
        verb = typer.Typer(**SETTINGS)
        help_ = command.__doc__ or VERBS[cmd_name]  # python -OO removes docstrings
        verb.command(cmd_name, help=help_, context_settings=CONTEXT)(command)
        return typer.main.get_command(verb)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; an error that the user can cause ends in a message and exit code 2."""
        with handle_errors():
            return super().invoke(ctx)


app = typer.Typer(
    name="bench",
    cls=LazyGroup,
    epilog="Exit codes: 0 done, 1 regression, 2 wrong use, 3 some runs failed, 4 inconclusive, "
    "5 a bug in bench.",
    no_args_is_help=True,
    context_settings=CONTEXT,
    **SETTINGS,
)


def print_version(value: bool) -> None:
    """Print the version, the path and the versions of other packages, then exit."""
    if value:
        from importlib.metadata import version

        package = Path(__file__).parents[1]
        others = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))
        python = ".".join(map(str, sys.version_info[:3]))
        print(f"distillbench {version('distillbench')} from {package}")
        print(f"Python {python}, {others}")
        raise typer.Exit


@app.callback(help=HELP)
def bench(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Show help or the version."""


def prepare_streams() -> None:
    """Open closed standard streams on the null device; print `?` for unencodable characters."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the descriptor is closed, for example by `>&-`
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main() -> None:
    """Run the command line; a bug ends in a traceback and exit code 5."""
    prepare_streams()
    gc.set_threshold(MIN_NEW_OBJECTS)
    try:
        app(prog_name="bench")
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(INTERNAL_ERROR)
