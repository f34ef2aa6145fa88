"""The command line: each verb reads its arguments, calls one function, prints what it returns.

Modules that bring torch, mlflow or pandas are imported inside the verbs: `bench --help` is instant.
"""

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import BenchError, Mistakes

if TYPE_CHECKING:
    from bench.plan import Plan

WRONG_USE, RUNS_FAILED = 2, 3

app = typer.Typer(
    name="bench",
    help="Benchmarks of knowledge distillation: suites in YAML, tables as in the papers.",
    epilog="Exit codes: 0 done, 1 regression, 2 wrong use, 3 some runs failed, 4 inconclusive.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


class Overwrite(StrEnum):
    """What `run` does with records that are there."""

    never = "never"
    failed = "failed"
    always = "always"


class View(StrEnum):
    """How a run is shown."""

    auto = "auto"
    live = "live"
    plain = "plain"
    json = "json"


class Tracker(StrEnum):
    """Where runs are logged beside their records."""

    mlflow = "mlflow"
    none = "none"


SuiteName = Annotated[str, typer.Argument(help="A suite's file, or the name of a shipped suite.")]
ResultsDir = Annotated[Path, typer.Option("--results", help="Folder of records and tables.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", envvar="BENCH_DATA", help="Folder of the data sets."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value: recipe.epochs=2"),
]
Seeds = Annotated[
    str | None, typer.Option("--seeds", help="In place of the suite's seeds: 0-4 or 0,2")
]
Filter = Annotated[
    str, typer.Option("--filter", help="Part of the suite: 'pair=vgg13/*,method=kd|crd,seed=0'")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many student runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts.")]


@app.command(epilog="Example: `bench run suites/quickstart.yaml`")
def run(
    suite: SuiteName,
    results: ResultsDir = Path("results"),
    data_root: DataRoot = None,
    set_: Set = None,
    seeds: Seeds = None,
    filter_: Filter = "",
    limit: Limit = None,
    overwrite: Annotated[
        Overwrite, typer.Option(help="Redo no record, failed ones, or all.")
    ] = Overwrite.failed,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, do nothing.")] = False,
    gpus: Annotated[str | None, typer.Option(help="GPUs to use: 0,1 (default: all)")] = None,
    per_gpu: Annotated[int, typer.Option(min=1, help="Cohorts at a time on each GPU.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cohorts at a time on a CPU (default: one a core).")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each worker on a CPU.")] = 1,
    inline: Annotated[
        bool, typer.Option("--inline", help="Train in this process, for debugging.")
    ] = False,
    tracker: Annotated[Tracker, typer.Option(help="MLflow, or nothing.")] = Tracker.mlflow,
    view: Annotated[View, typer.Option(help="How progress is shown.")] = View.auto,
    as_json: AsJson = False,
) -> None:
    """Do what is missing of a suite, then print and write its tables.

    The same command again goes on where the last one stopped.
    """
    session = _session()
    with _told():
        plan = session.make_plan(suite, _changes(set_, seeds), filter_, limit, data_root)
        if dry_run:
            return _show_plan(plan, results, data_root, as_json)
        machine = session.Machine(_gpus(gpus), per_gpu, workers, threads, inline)
        kind = "json" if as_json else view.value
        log = None
        if tracker is Tracker.mlflow:
            log = _module("watching.tracking").MLflow(plan, _results(results))
        lost = session.carry_out(
            plan, _results(results), machine, data_root=data_root,
            overwrite=overwrite.value, view=kind, tracker=log,
        )  # fmt: skip
        if kind != "json":
            _print_tables(plan, results)
        for warning in log.warnings if log else ():
            print(f"warning: {warning}", file=sys.stderr)
    raise typer.Exit(RUNS_FAILED if lost else 0)


@app.command(epilog="Example: `bench plan suites/cifar100_same_arch.yaml --filter method=crd`")
def plan(
    suite: SuiteName,
    results: ResultsDir = Path("results"),
    data_root: DataRoot = None,
    set_: Set = None,
    seeds: Seeds = None,
    filter_: Filter = "",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Show what would run, what is done, what is skipped and why, and what it takes."""
    with _told():
        made = _session().make_plan(suite, _changes(set_, seeds), filter_, limit, data_root)
        _show_plan(made, results, data_root, as_json)


@app.command(epilog="Example: `bench status quickstart --results results`")
def status(
    suite: SuiteName,
    results: ResultsDir = Path("results"),
    data_root: DataRoot = None,
    set_: Set = None,
    seeds: Seeds = None,
    filter_: Filter = "",
    as_json: AsJson = False,
) -> None:
    """Count a suite's runs by what became of them, and name those without a result."""
    with _told():
        made = _session().make_plan(suite, _changes(set_, seeds), filter_, None, data_root)
        overview = _module("overview")
        rows = overview.status(made, _results(results))
        _say(rows, overview.status_text, as_json)


@app.command(epilog="Example: `bench report quickstart --metric nll`")
def report(
    suite: SuiteName,
    results: ResultsDir = Path("results"),
    data_root: DataRoot = None,
    set_: Set = None,
    seeds: Seeds = None,
    filter_: Filter = "",
    metric: Annotated[
        str, typer.Option(help="top1, top5, nll, ece, agreement, kl, or oracle: best on test.")
    ] = "top1",
) -> None:
    """Print a suite's table from its records and write it as Markdown, LaTeX and CSV."""
    with _told():
        made = _session().make_plan(suite, _changes(set_, seeds), filter_, None, data_root)
        _print_tables(made, results, metric)


@app.command("list", epilog="Example: `bench list methods`")
def list_(
    what: Annotated[
        str, typer.Argument(help="suites, methods, distillers, networks or datasets.")
    ] = "suites",
    as_json: AsJson = False,
) -> None:
    """List what there is to name in a suite."""
    with _told():
        overview = _module("overview")
        _say(overview.listing(what), overview.listing_text, as_json)


@app.command(epilog="Example: `bench show suites/quickstart.yaml --set recipe.epochs=2`")
def show(suite: SuiteName, set_: Set = None, seeds: Seeds = None) -> None:
    """Print a suite with every value it resolves to, and where each comes from."""
    with _told():
        suites = _module("suite")
        print(suites.render(suites.read(suites.find(suite), _changes(set_, seeds))), end="")


@app.command(epilog="Example: `bench validate suites/*.yaml`")
def validate(
    suites: Annotated[list[str], typer.Argument(help="Suite files, or names of shipped ones.")],
    set_: Set = None,
) -> None:
    """Check suites; print every mistake with its file and line, and warnings."""
    known = _module("suite")
    mistakes: list[str] = []
    for name in suites:
        try:
            found = known.read(known.find(name), set_ or ())
        except Mistakes as error:
            mistakes += error.lines
        else:
            print(f"{name}: good")
            for warning in known.warnings(found):
                print(f"{name}: warning: {warning}")
    if mistakes:
        print("\n".join(mistakes), file=sys.stderr)
        raise typer.Exit(WRONG_USE)


@app.command(epilog="Example: `bench teachers suites/cifar100_same_arch.yaml`")
def teachers(
    suite: SuiteName,
    results: ResultsDir = Path("results"),
    data_root: DataRoot = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Show the teachers of a suite: trained or adopted, how good, and their weights."""
    with _told():
        made = _session().make_plan(suite, set_ or (), "", None, data_root)
        overview = _module("overview")
        _say(overview.teachers(made, _results(results)), overview.teachers_text, as_json)


@app.command(epilog="Example: `bench ui --results results --port 5000`")
def ui(
    results: ResultsDir = Path("results"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's pages on the runs of a results folder."""
    with _told():
        _module("watching.tracking").ui(_results(results), host, port)


@app.command(epilog="Example: `bench clean --results results --yes`")
def clean(
    results: ResultsDir = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only show.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Also the students' weights.")] = False,
) -> None:
    """Remove what no command needs any more: states of ended runs, logs, torn files."""
    with _told():
        files = _module("results").leftovers(_results(results), weights)
        size = sum(path.stat().st_size for path in files)
        for path in files:
            print(f"{'removed' if yes else 'would remove'} {path}")
            if yes:
                path.unlink()
        print(f"{len(files)} files, {size / 1e6:.1f} MB" + ("" if yes else "; --yes removes them"))


def main() -> None:
    """Run the command line; a user's mistake ends in a sentence, never in a traceback."""
    app()


def _show_plan(plan: "Plan", results: Path, data_root: Path | None, as_json: bool) -> None:
    overview = _module("overview")
    rows = overview.plan(plan, _results(results), _session().root_of(data_root))
    _say(rows, overview.plan_text, as_json)


def _print_tables(plan: "Plan", results: Path, metric: str = "top1") -> None:
    made, written = _session().tables(plan, _results(results), metric)
    width, terminal = shutil.get_terminal_size((100, 24)).columns, sys.stdout.isatty()
    print(_module("report").text(made, width=width, terminal=terminal))
    print("written: " + ", ".join(str(path) for path in written))


def _say(content: Any, text: Callable[[Any], str], as_json: bool) -> None:
    print(json.dumps(content, indent=1) if as_json else text(content))


def _changes(set_: list[str] | None, seeds: str | None) -> list[str]:
    """All changes to a suite as `key=value`; --seeds is short for one of them."""
    return [*(set_ or []), *([f'seeds="{seeds}"'] if seeds else [])]


def _gpus(text: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise Mistakes([f"--gpus {text}: not numbers with commas between, like 0,1"]) from error


def _results(folder: Path) -> Any:
    return _module("results").Results(folder)


def _session() -> Any:
    return _module("session")


def _module(name: str) -> Any:
    return importlib.import_module(f"bench.{name}")


@contextmanager
def _told() -> Iterator[None]:
    """What a user did wrong is told in its own words, on standard error, with exit code 2."""
    try:
        yield
    except BenchError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(WRONG_USE) from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
