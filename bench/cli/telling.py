"""What all verbs have in common: how they tell results, tables, and mistakes."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bench.cli.options import seeds_of
from bench.config.text import as_json as json_text
from bench.config.text import printable
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.report import Kind, Report

WRONG_USE, RUNS_FAILED = 2, 3


@contextmanager
def told() -> Iterator[None]:
    """What a user did wrong is told in its own words, on standard error, with exit code 2."""
    try:
        yield
    except BenchError as error:
        complain(str(error))
        raise typer.Exit(WRONG_USE) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever reads us has seen enough; click would exit with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        raise typer.Exit(WRONG_USE) from None
    except KeyboardInterrupt as stop:
        complain("stopped; the same command goes on from here")
        number = stop.args[0] if stop.args else signal.SIGINT
        raise typer.Exit(128 + number) from None


def complain(text: str) -> None:
    """Tell on standard error."""
    print(printable(text), file=sys.stderr)


def tell(text: str) -> None:
    """Tell on standard output."""
    print(printable(text))


def say(content: Any, text: Callable[[Any], str], as_json: bool) -> None:
    """Print what was found: as JSON, or as text for people."""
    print(json_text(content) if as_json else printable(text(content)))


def made_plan(
    suite: str,
    set_: Sequence[str] | None,
    seeds: str | None = None,
    filter_: str = "",
    limit: int | None = None,
    data_root: Path | None = None,
) -> "Plan":
    """The plan of a suite, changed and filtered as the command line says."""
    from bench import api

    return api.make_plan(suite, changes(set_, seeds), filter_, limit, data_root)


def changes(set_: Sequence[str] | None, seeds: str | None) -> list[str]:
    """All changes to a suite as `key=value`; --seeds is short for one of them."""
    return [*(set_ or []), *([f"seeds={seeds_of(seeds)}"] if seeds is not None else [])]


def show_tables(made: "Report", kind: "Kind" = "tables") -> None:
    """Print tables as wide as the terminal allows; at once, since writing them may fail."""
    from bench import report

    print(report.show(made, kind, **_screen()), flush=True)


def show_files(files: "Sequence[Path]") -> None:
    """Tell which files were written."""
    tell(f"written: {', '.join(map(str, files))}")


def _screen() -> dict[str, Any]:
    """How wide standard output is, and whether it is a terminal."""
    return {
        "width": shutil.get_terminal_size((100, 24)).columns, "terminal": sys.stdout.isatty(),
    }  # fmt: skip
