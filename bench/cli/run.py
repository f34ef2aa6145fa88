"""The verb `run`: train a suite's runs, then make its table."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Option

from bench.cli import options
from bench.cli.console import RUNS_FAILED, echo, print_error, print_files
from bench.cli.plan import print_plan
from bench.cli.report import print_report
from bench.config.text import as_json as json_text
from bench.errors import BenchError
from bench.report import build
from bench.results import Results

if TYPE_CHECKING:
    from bench.api import Machine, Tracker
    from bench.planning.plan import Plan
    from bench.results import Record

Engine = Literal["local", "ray", "slurm"]
Overwrite = Literal["never", "failed", "always"]
TrackerName = Literal["mlflow", "tensorboard", "none"]
View = Literal["auto", "live", "plain", "json"]
GPUS = "GPUs to use, such as 0,1; or none. Default: all GPUs; without a GPU, the CPU."
WORKERS = "Parallel workers on a CPU. Default: one per core."
THREADS = "Threads of each worker on a CPU; affects rounding."
INLINE = "Train in this process, so that breakpoint() works; the view is then plain by default."
GRAPHS = "Run each training step as a CUDA graph; affects rounding. GPUs only."
KEEP = "Keep the teachers' outputs on disk: methods that are added later skip the teacher."
CLUSTER = "YAML file with resources for Ray or Slurm (docs/CLUSTERS.md)."


@options.suite_verb()
def command(
    suite: options.SuiteOptions,
    overwrite: Annotated[
        Overwrite,
        Option(
            help="Runs that have a record. never: keep all; failed: rerun those that failed "
            "or were skipped; always: rerun all."
        ),
    ] = "failed",
    dry_run: Annotated[bool, Option("--dry-run", help="Only show the plan.")] = False,
    gpus: Annotated[Any, Option(metavar="GPUS", parser=options.parse_gpus, help=GPUS)] = None,
    per_gpu: Annotated[int, Option(metavar="N", min=1, help="Parallel workers on each GPU.")] = 1,
    workers: Annotated[int | None, Option(metavar="N", min=1, help=WORKERS)] = None,
    threads: Annotated[int, Option(metavar="N", min=1, help=THREADS)] = 1,
    graphs: Annotated[bool, Option("--cuda-graphs", help=GRAPHS)] = False,
    inline: Annotated[bool, Option("--inline", help=INLINE)] = False,
    keep_teacher: Annotated[bool, Option("--keep-teacher", help=KEEP)] = False,
    executor: Annotated[Engine, Option(help="Train on this machine, Ray or Slurm.")] = "local",
    cluster: Annotated[Path | None, Option(metavar="FILE", help=CLUSTER)] = None,
    tracker: Annotated[
        TrackerName, Option(help="Service that also receives the records.")
    ] = "mlflow",
    view: Annotated[View, Option(help="Progress; auto: live on a terminal, else plain.")] = "auto",
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
    machine = api.Machine(
        gpus, per_gpu, workers, threads, inline,
        graphs=graphs, keep_teacher=keep_teacher, cluster=nodes,
    )  # fmt: skip
    if dry_run:
        print_plan(suite, machine, as_json)
        return
    results, as_json = Results(suite.results), as_json or view == "json"
    shown: View = "json" if as_json else view
    plan, unfinished, losses = train(suite, machine, overwrite, tracker, shown)
    report = build.assemble(plan, results)
    files = build.write(plan, results, assembled=report)  # written first, as printing may fail
    if as_json:
        echo(json_text({"event": "tables", "files": list(map(str, files))}, None))
    else:
        print_report(report)
        print_files(files)
    doubts = build.warnings_of(report) if as_json else []  # otherwise, the table shows them
    for warning in (*doubts, *losses, *open_searches(plan)):
        print_error(f"warning: {warning}")
    if unfinished or plan.undecided:
        raise typer.Exit(RUNS_FAILED)


def train(
    suite: options.SuiteOptions,
    machine: "Machine",
    overwrite: Overwrite,
    tracker: TrackerName,
    view: View,
) -> "tuple[Plan, list[Record], list[str]]":
    """Train the trials of a suite, if it has any, and the runs of its table, look by look.

    Returns:
        The plan; the records of the table's runs without a result; sentences about records that the
        tracker could not log.
    """
    from bench import api
    from bench.execution.executors.forking import WorkerServer

    results = Results(suite.results)
    copies: list[Tracker | None] = []
    executed: set[str] = set()  # names of suites: the table's, and that of its trials

    def execute(plan: "Plan") -> "list[Record]":
        copies.append(make_tracker(tracker, plan, results))
        repeat = overwrite
        if overwrite == "always" and (plan.suite.data.held_out or plan.suite.name in executed):
            repeat = "failed"  # otherwise each round would repeat the earlier rounds
        executed.add(plan.suite.name)
        return api.execute(
            plan, results, machine, data_root=suite.data_root, overwrite=repeat, view=view,
            tracker=copies[-1],
        )  # fmt: skip

    with WorkerServer() as server:
        machine = replace(machine, server=server)
        plan = api.run_trials(suite.load_plan, execute, results)
        plan, unfinished = api.run_seeds(suite.load_plan, execute, results, plan)
    return plan, unfinished, [warning for copy in copies if copy for warning in copy.warnings]


def open_searches(plan: "Plan") -> Iterator[str]:
    """Yield a line for each tuned method whose trials have not ended, and one for open looks."""
    for search in plan.searches:
        if not search.ended:
            yield f"{search.method} on {search.pair}: {search.text}; the same command continues"
    if plan.later is not None:
        yield "seeds: a look waits for failed runs, or for runs outside of the filter"


def make_tracker(name: TrackerName, plan: "Plan", results: Results) -> "Tracker | None":
    """Return the tracker with this name; None for `none`."""
    if name == "none":
        return None
    if name == "tensorboard":
        from bench.callbacks.tensorboard import TensorBoard

        return TensorBoard(plan, results)
    from bench.callbacks.mlflow import MLflow

    return MLflow(plan, results)
