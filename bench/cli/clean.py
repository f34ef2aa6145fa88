"""The verb `clean`: free disk space."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from typer import Option

from bench.cli import options
from bench.cli.console import echo
from bench.config.text import count
from bench.results import Results, leftovers


def command(
    results: options.ResultsDir = Path("results"),
    yes: Annotated[bool, Option("--yes", help="Remove the files; default: list.")] = False,
    weights: Annotated[
        bool,
        Option(
            "--weights",
            help="Include weights of students that teach no network, and kept teachers.",
        ),
    ] = False,
) -> None:
    """List or remove checkpoints of ended runs, logs and partial files.

    Example: bench clean --results results --yes
    """
    store = Results(results)
    files = leftovers(store, weights)
    size = sum(path.stat().st_size for path in files)
    with store.lock() if yes and files else nullcontext():
        for path in files:
            echo(f"{'removed' if yes else 'would remove'} {path}")
            if yes:
                path.unlink(missing_ok=True)  # `lock` has deleted partial files already
    if not files:
        echo(f"{results}: nothing to remove")
        return
    hint = "" if yes else "; --yes removes them"
    echo(f"{results}: {count(len(files), 'file')}, {size / 1e6:.1f} MB{hint}")
