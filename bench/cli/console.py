"""Printing, errors and exit codes of all verbs."""

import errno
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bench.config.text import as_json as json_text
from bench.config.text import printable
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.results import Results

WRONG_USE, RUNS_FAILED = 2, 3


@contextmanager
def handle_errors() -> Iterator[None]:
    """Turn exceptions into a message on standard error and an exit code."""
    try:
        yield
    except BenchError as error:
        print_error(str(error))
        raise typer.Exit(WRONG_USE) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # closed pipe; click would exit 1, a regression's code
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        raise typer.Exit(WRONG_USE) from None
    except KeyboardInterrupt as interrupt:
        print_error("interrupted; run the same command again to resume")
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        raise typer.Exit(128 + number) from None


def print_error(text: str) -> None:
    """Print a text on standard error."""
    print(printable(text), file=sys.stderr)


def echo(text: str) -> None:
    """Print a text on standard output."""
    print(printable(text), flush=True)


def print_result(content: Any, to_text: Callable[[Any], str], as_json: bool) -> None:
    """Print content as JSON for scripts, or as text for people."""
    echo(json_text(content) if as_json else to_text(content))


def print_files(files: "list[Path]") -> None:
    """Print which files were written."""
    width = shutil.get_terminal_size((100, 24)).columns
    text = f"written: {', '.join(map(str, files))}"
    echo(textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False))


def require_record(plan: "Plan", results: "Results", command: str) -> int:
    """Return how many runs of the plan have a record; if no run has one, raise BenchError."""
    count = len(plan.runs.keys() & results.runs())
    if not count:
        raise BenchError(
            f"{results.folder}: none of the {len(plan.runs)} selected runs has a record; "
            f"to train them: `{command}`"
        )
    return count
