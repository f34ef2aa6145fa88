"""The verb `run`: train a suite's runs, then make its table."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Option

from bench.callbacks.mlflow import MLflow
from bench.cli import options
from bench.cli.console import RUNS_FAILED, echo, print_error, print_files
from bench.cli.plan import print_plan
from bench.cli.report import print_report
from bench.config.text import as_json as json_text
from bench.errors import BenchError
from bench.report import build
from bench.results import Results

Engine = Literal["local", "ray", "slurm"]
Overwrite = Literal["never", "failed", "always"]
Tracker = Literal["mlflow", "none"]
View = Literal["auto", "live", "plain", "json"]
GPUS = "GPUs to use: 0,1 or none. Default: all GPUs; without a GPU, the CPU."
WORKERS = "Parallel workers on a CPU. Default: one per core."
THREADS = "Threads of each worker on a CPU; affects rounding."
GRAPHS = "Run each training step as a CUDA graph; affects rounding. GPUs only."
CLUSTER = "YAML file with resources for Ray or Slurm (docs/CLUSTERS.md)."


@options.suite_verb()
def command(
    suite: options.SuiteOptions,
    overwrite: Annotated[
        Overwrite, Option(help="Rerun recorded runs: never, only failed and skipped ones, always.")
    ] = "failed",
    dry_run: Annotated[bool, Option("--dry-run", help="Only show the plan.")] = False,
    gpus: Annotated[Any, Option(metavar="GPUS", parser=options.parse_gpus, help=GPUS)] = None,
    per_gpu: Annotated[int, Option(metavar="N", min=1, help="Parallel workers on each GPU.")] = 1,
    workers: Annotated[int | None, Option(metavar="N", min=1, help=WORKERS)] = None,
    threads: Annotated[int, Option(metavar="N", min=1, help=THREADS)] = 1,
    graphs: Annotated[bool, Option("--cuda-graphs", help=GRAPHS)] = False,
    inline: Annotated[bool, Option("--inline", help="Train in this process, to debug.")] = False,
    executor: Annotated[Engine, Option(help="Train on this machine, Ray or Slurm.")] = "local",
    cluster: Annotated[Path | None, Option(metavar="FILE", help=CLUSTER)] = None,
    tracker: Annotated[Tracker, Option(help="Also log records to this tracker.")] = "mlflow",
    view: Annotated[View, Option(help="Progress; auto: live in a terminal, else plain.")] = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Run a suite, then print and write its table.

    Finished runs are not repeated. After an interruption, run the same command again to resume.

    Example: bench run suites/quickstart.yaml
    """
    from bench import api
    from bench.execution import cluster as clusters

    nodes = None
    if executor != "local":
        if gpus is not None or per_gpu > 1 or workers or inline:
            raise BenchError(
                "--gpus, --per-gpu, --workers, --inline: allowed only with --executor local; "
                f"with {executor}, set the resources of each worker in --cluster FILE"
            )
        nodes = clusters.read(cluster, executor)
    elif cluster:
        raise BenchError("--cluster: allowed only with --executor ray or --executor slurm")
    machine = api.Machine(gpus, per_gpu, workers, threads, inline, graphs=graphs, cluster=nodes)
    if dry_run:
        print_plan(suite, machine, as_json)
        return
    plan, results = suite.load_plan(), Results(suite.results)
    mlflow = MLflow(plan, results) if tracker == "mlflow" else None
    as_json = as_json or view == "json"
    unfinished = api.execute(
        plan, results, machine, data_root=suite.data_root, overwrite=overwrite,
        view="json" if as_json else view, tracker=mlflow,
    )  # fmt: skip
    report = build.assemble(plan, results)
    if not as_json:
        print_report(report)
    files = build.write(plan, results, assembled=report)
    if as_json:
        echo(json_text({"event": "tables", "files": list(map(str, files))}, None))
    else:
        print_files(files)
    for warning in mlflow.warnings if mlflow else ():
        print_error(f"warning: {warning}")
    if unfinished:
        raise typer.Exit(RUNS_FAILED)
