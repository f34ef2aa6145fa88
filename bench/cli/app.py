"""The command `bench`: its verbs (subcommands), their help, and its exit codes."""

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from bench.cli.console import handle_errors

INTERNAL_ERROR = 5  # exit code of a bug; Python's default, 1, means a regression here
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,  # importing rich takes three times as long as all else
    "pretty_exceptions_enable": False,
}


VERBS = {  # shown by --help; a verb's module is not imported for this
    "run": "Run a suite, then print and write its table.",
    "plan": "Show the runs that are to do, done or skipped, and their cost.",
    "status": "Count a suite's runs by state; list why runs have no result.",
    "report": "Print and write a suite's table, from its records.",
    "figures": "Draw a suite's figures, as PNG and PDF, from its records.",
    "baseline": "Save a suite's means and standard deviations, for `check`.",
    "check": "Compare records with a baseline, or with the papers' tables.",
    "compare": "Compare two results folders.",
    "sync": "Log a suite's records to MLflow, except those already there.",
    "list": "List suites, methods, distillers, networks or datasets.",
    "show": "Print a suite with every value and its origin.",
    "validate": "Check suites; print each mistake with its line, and warnings.",
    "teachers": "Show each teacher of a suite: origin, accuracy, weights.",
    "ui": "Start MLflow's web interface for a results folder.",
    "clean": "List or remove checkpoints of ended runs, logs and partial files.",
}


class LazyGroup(TyperGroup):
    """A command group that imports a verb's module only when the verb is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # loaded by get_command

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a verb; None for an unknown verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"bench.cli.{cmd_name}")
        verb = typer.Typer(**SETTINGS)
        verb.command(cmd_name)(module.command)
        return typer.main.get_command(verb)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; replace the traceback of a user's error by a message and exit code 2."""
        with handle_errors():
            return super().invoke(ctx)


app = typer.Typer(
    name="bench",
    cls=LazyGroup,
    epilog="Exit codes: 0 done, 1 regression, 2 wrong use, 3 some runs failed, 4 inconclusive, "
    "5 a bug in bench.",
    no_args_is_help=True,
    context_settings={"max_content_width": 100},
    **SETTINGS,
)


@app.callback()
def bench() -> None:
    """Benchmark knowledge distillation: describe a suite in YAML, get tables as in the papers."""


def main() -> None:
    """Run the command line; after a bug, print the traceback and exit with code 5."""
    try:
        app(prog_name="bench")
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(INTERNAL_ERROR)
