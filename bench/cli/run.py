"""The verb `run`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Option

from bench import api
from bench.callbacks.mlflow import MLflow
from bench.cli import options
from bench.cli.console import RUNS_FAILED, print_error, print_files
from bench.cli.options import SuiteOptions
from bench.cli.plan import print_plan
from bench.cli.report import print_report
from bench.config.text import as_json as json_text
from bench.errors import BenchError
from bench.execution import cluster as clusters
from bench.execution.runner import Overwrite
from bench.report import build
from bench.results import Results

Engine = Literal["local", "ray", "slurm"]
Tracker = Literal["mlflow", "none"]
View = Literal["auto", "live", "plain", "json"]
GPUS = "GPUs to use, such as 0,1, or none. Without: all, else the CPU."
WORKERS = "Cohorts at a time on a CPU. Without: one a core."
THREADS = "Threads of each worker on a CPU; rounding varies."
GRAPHS = "Record each step as a CUDA graph; rounding varies. GPUs only."
CLUSTER = "Resources of Ray or Slurm: docs/CLUSTERS.md."


@options.suite_verb()
def command(
    suite: SuiteOptions,
    overwrite: Annotated[
        Overwrite, Option(help="Replace no record, those of failed and skipped runs, or all.")
    ] = "failed",
    dry_run: Annotated[bool, Option("--dry-run", help="Show the plan, do nothing.")] = False,
    gpus: Annotated[
        str | None, Option(metavar="GPUS", callback=options.check_gpus, help=GPUS)
    ] = None,
    per_gpu: Annotated[int, Option(metavar="N", min=1, help="Cohorts at a time on each GPU.")] = 1,
    workers: Annotated[int | None, Option(metavar="N", min=1, help=WORKERS)] = None,
    threads: Annotated[int, Option(metavar="N", min=1, help=THREADS)] = 1,
    graphs: Annotated[bool, Option("--cuda-graphs", help=GRAPHS)] = False,
    inline: Annotated[bool, Option("--inline", help="Train in this process, to debug.")] = False,
    executor: Annotated[Engine, Option(help="This machine, a Ray cluster, or Slurm.")] = "local",
    cluster: Annotated[Path | None, Option(metavar="FILE", help=CLUSTER)] = None,
    tracker: Annotated[Tracker, Option(help="Where records are logged, too.")] = "mlflow",
    view: Annotated[View, Option(help="Progress; auto: live on a terminal, else plain.")] = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Run a suite, then print and write its table.

    Runs that have a record are not repeated. The same command again resumes where the last one
    stopped.

    Example: bench run suites/quickstart.yaml
    """
    plan, results = suite.load_plan(), Results(suite.results)
    machine = api.Machine(
        options.parse_gpus(gpus), per_gpu, workers, threads, inline, graphs=graphs
    )
    machine = _on_cluster(machine, executor, cluster)
    if dry_run:
        print_plan(plan, results, suite.data_root, machine, as_json)
        return
    as_json = as_json or view == "json"
    mlflow = MLflow(plan, results) if tracker == "mlflow" else None
    unfinished = api.execute(
        plan,
        results,
        machine,
        data_root=suite.data_root,
        overwrite=overwrite,
        view="json" if as_json else view,
        tracker=mlflow,
    )
    report = build.assemble(plan, results)
    if not as_json:
        print_report(report)
    files = build.write(plan, results, assembled=report)
    if as_json:
        print(json_text({"event": "tables", "files": list(map(str, files))}, None))
    else:
        print_files(files)
    for warning in mlflow.warnings if mlflow else ():
        print_error(f"warning: {warning}")
    if unfinished:
        raise typer.Exit(RUNS_FAILED)


def _on_cluster(machine: api.Machine, engine: Engine, file: Path | None) -> api.Machine:
    """Return this machine, or the cluster if one is asked for."""
    if engine == "local":
        if file is not None:
            raise BenchError("--cluster: only with --executor. Allowed: ray, slurm")
        return machine
    anywhere = api.Machine(threads=machine.threads, graphs=machine.graphs)
    if machine != anywhere:
        raise BenchError(
            "--gpus, --per-gpu, --workers, --inline: only with --executor local; "
            f"--cluster FILE says which resources of {engine} a cohort gets"
        )
    return replace(anywhere, cluster=clusters.read(file, engine))
