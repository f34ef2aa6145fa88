"""The verbs that are not about runs: list, show, validate, ui, clean."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options as given
from bench.cli import texts
from bench.cli.telling import WRONG_USE, changes, complain, say, tell, told
from bench.errors import ConfigError

RESULTS = Path("results")


def list_(what: given.ListName = "suites", as_json: given.AsJson = False) -> None:
    """List suites, methods, distillers, networks or datasets."""
    with told():
        from bench.cli import overview

        say(overview.listing(what), partial(texts.listing, what), as_json)


def show(
    suite: given.SuiteName,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Print a suite with every value, and where each comes from."""
    with told():
        from bench import suite as suites

        path, asked = suites.find(suite), changes(set_, seeds)
        print(suites.render(suites.read(path, asked, plugins=not no_plugins)), end="")


def validate(
    suites: given.SuiteNames,
    set_: given.Set = None,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Check suites: every mistake with its line, and warnings."""
    mistakes: list[str] = []
    with told():
        from bench import suite as known

        for name in suites:
            try:
                found = known.read(known.find(name), set_ or (), plugins=not no_plugins)
            except ConfigError as error:
                mistakes += error.lines
            else:
                tell(f"{name}: good")
                for warning in known.warnings(found):
                    tell(f"{name}: warning: {warning}")
    if mistakes:
        complain("\n".join(mistakes))
        raise typer.Exit(WRONG_USE)


def ui(
    results: given.ResultsDir = RESULTS,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's pages on a results folder."""
    with told():
        from bench.callbacks import mlflow
        from bench.results import Results

        raise typer.Exit(mlflow.ui(Results(results), host, port))


def clean(
    results: given.ResultsDir = RESULTS,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only show.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Also the students' weights.")] = False,
) -> None:
    """Remove states of ended runs, logs and torn files."""
    with told(), ExitStack() as held:
        from bench.results import Results, leftovers

        files = leftovers(Results(results), weights)
        size = sum(path.stat().st_size for path in files)
        if yes and files:
            held.enter_context(Results(results).lock())
        for path in files:
            tell(f"{'removed' if yes else 'would remove'} {path}")
            if yes:
                path.unlink(missing_ok=True)  # the lock's holder removes torn files by itself
        told_size = f"{texts.counted(len(files), 'file')}, {size / 1e6:.1f} MB"
        asked = "; --yes removes them" if files and not yes else ""
        tell(f"{results}: {told_size if files else 'nothing to remove'}{asked}")
