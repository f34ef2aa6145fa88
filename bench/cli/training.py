"""The verbs that are about a suite's runs: run, plan, status, report, teachers."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.cli import options as given
from bench.cli import texts
from bench.cli.telling import (
    RUNS_FAILED,
    complain,
    made_plan,
    say,
    show_files,
    show_tables,
    told,
)
from bench.config.text import as_json as json_text
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.api import Machine
    from bench.planning.plan import Plan

RESULTS = Path("results")


def run(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    filter_: given.Filter = "",
    limit: given.Limit = None,
    overwrite: given.Redo = given.Overwrite.failed,
    dry_run: given.DryRun = False,
    gpus: given.Gpus = None,
    per_gpu: given.PerGpu = 1,
    workers: given.Workers = None,
    threads: given.Threads = 1,
    per_run: given.PerRun = 1,
    graphs: given.Graphs = False,
    inline: given.Inline = False,
    executor: given.EngineName = given.Engine.local,
    cluster: given.ClusterFile = None,
    tracker: given.TrackerName = given.Tracker.mlflow,
    view: given.ViewName = given.View.auto,
    as_json: given.AsJson = False,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Do what is missing of a suite, then print and write its table.

    The same command again goes on where the last one stopped.
    """
    with told():
        from bench import api
        from bench.callbacks.mlflow import MLflow
        from bench.report import build
        from bench.results import Results

        plan = made_plan(suite, set_, seeds, filter_, limit, data_root)
        here = api.Machine(
            given.gpus_of(gpus), per_gpu, workers, threads, inline, per_run=per_run, graphs=graphs
        )
        machine = _elsewhere(here, executor, cluster)
        if dry_run:
            _show_plan(plan, results, data_root, machine, as_json)
            return
        records, as_json = Results(results), as_json or view is given.View.json
        log = MLflow(plan, records) if tracker is given.Tracker.mlflow else None
        lost = api.carry_out(
            plan, records, machine, data_root=data_root, overwrite=overwrite.value,
            view="json" if as_json else view.value, tracker=log,
        )  # fmt: skip
        made = build.assemble(plan, records)
        if not as_json:
            show_tables(made)
        files = build.write(plan, records, assembled=made)
        if as_json:
            print(json_text({"event": "tables", "files": list(map(str, files))}, None))
        else:
            show_files(files)
        for warning in log.warnings if log else ():
            complain(f"warning: {warning}")
        if lost:
            raise typer.Exit(RUNS_FAILED)


def plan(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    filter_: given.Filter = "",
    limit: given.Limit = None,
    as_json: given.AsJson = False,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Show what would run, what is done or skipped, and what it takes."""
    with told():
        from bench import api

        made = made_plan(suite, set_, seeds, filter_, limit, data_root)
        _show_plan(made, results, data_root, api.Machine(), as_json)


def status(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    filter_: given.Filter = "",
    as_json: given.AsJson = False,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Count a suite's runs by state; say why some have no result."""
    with told():
        from bench.cli import overview
        from bench.results import Results

        made = made_plan(suite, set_, seeds, filter_, None, data_root)
        say(overview.status(made, Results(results)), texts.status, as_json)


def report(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    filter_: given.Filter = "",
    metric: given.Metric = "top1",
    formats: given.Formats = "md,tex,csv",
    standalone: given.Standalone = False,
    published: given.Published = False,
    published_only: given.PublishedOnly = False,
    statistics: given.Statistics = False,
    versus: given.Versus = None,
    tolerance: given.Tolerance = None,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Print and write a suite's table, from its records."""
    with told():
        from bench import report
        from bench.report import build
        from bench.results import Results

        kinds = report.check_formats(formats.split(","), page=not published_only)
        plan, records = made_plan(suite, set_, seeds, filter_, None, data_root), Results(results)
        options = report.ReportOptions(metric, kinds, standalone, published, versus, tolerance)
        if published_only:
            show_tables(build.published_report(plan))
            show_files(build.write_published(plan, records, options))
            return
        if not any(records.file(run).exists() for run in plan.runs):
            raise BenchError(
                f"{results}: no record of any of the {len(plan.runs)} runs; "
                f"`bench run {suite} --results {results}` makes them"
            )
        kind: report.Kind = "statistics" if statistics else "tables"
        entries = list(build.entries(plan, records, curves=report.PAGE in kinds))
        made = build.assemble(plan, records, options, entries)
        show_tables(made, kind)
        show_files(build.write(plan, records, options, kind, entries, made))


def teachers(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    as_json: given.AsJson = False,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Show a suite's teachers: origin, accuracy, weights."""
    with told():
        from bench.cli import overview
        from bench.results import Results

        made = made_plan(suite, set_, data_root=data_root)
        say(overview.teachers(made, Results(results)), texts.teachers, as_json)


def _elsewhere(here: "Machine", engine: given.Engine, file: Path | None) -> "Machine":
    """The machine, or the cluster that is asked for instead; what is said of both is a mistake."""
    from bench import api
    from bench.execution import cluster

    if engine is given.Engine.local:
        if file is not None:
            raise BenchError("--cluster: only with --executor. Allowed: ray, slurm")
        return here
    asked: cluster.Engine = "ray" if engine is given.Engine.ray else "slurm"
    anywhere = api.Machine(threads=here.threads, graphs=here.graphs)
    if here != anywhere:
        raise BenchError(
            "--gpus, --per-gpu, --workers, --devices-per-run, --inline: are of this machine, and "
            f"go with --executor local; --cluster FILE says what of {asked} a cohort gets"
        )
    return replace(anywhere, cluster=cluster.read(file, asked))


def _show_plan(
    plan: "Plan", results: Path, data_root: Path | None, machine: "Machine", as_json: bool
) -> None:
    from bench import api
    from bench.cli import overview
    from bench.results import Results

    root, place = api.root_of(data_root), "a cluster" if machine.cluster else None
    made = overview.plan(plan, Results(results), root, machine.devices(), place)
    say(made, texts.plan, as_json)
