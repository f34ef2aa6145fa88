"""The verb that makes good what a fault has left: sync."""

from pathlib import Path

import typer

from bench.cli import options as given
from bench.cli import texts
from bench.cli.telling import WRONG_USE, complain, made_plan, tell, told
from bench.errors import BenchError

RESULTS = Path("results")


def sync(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    filter_: given.Filter = "",
    no_plugins: given.NoPlugins = False,
) -> None:
    """Log to MLflow what it lacks of a suite's records."""
    with told():
        from bench import api
        from bench.results import Results

        plan, records = (
            made_plan(suite, set_, seeds, filter_, None, data_root, plugins=not no_plugins),
            Results(results),
        )
        found = sum(records.file(run).exists() for run in plan.runs)
        if not found:
            raise BenchError(
                f"{results}: no record of any of the {len(plan.runs)} runs asked for; "
                f"`bench run {suite} --results {results}` makes them"
            )
        log = api.sync(plan, records)
        tell(f"{plan.suite.name}: {texts.counted(found, 'record')}, {log.added} of them logged now")
        for warning in log.warnings:
            complain(f"warning: {warning}")
        if log.warnings:
            raise typer.Exit(WRONG_USE)
