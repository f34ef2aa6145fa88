"""What can stand on the command line: arguments and flags that several verbs share."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

MOST_SEEDS = 1000
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


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


class Engine(StrEnum):
    """What runs are done by."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


class Against(StrEnum):
    """What `check` holds records to."""

    baseline = "baseline"
    published = "published"


def seeds_of(text: str | None) -> list[int] | None:
    """The seeds of `0-4` or `0,2,5-7`, as they come."""
    if text is None:
        return None
    seeds: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not 0 <= last - first < MOST_SEEDS:
            allowed = f"whole numbers and ranges, at most {MOST_SEEDS}: 0-4 or 0,2 or 0-2,7"
            raise typer.BadParameter(f"found '{part}' in '{text}'. Allowed: {allowed}.")
        seeds += range(first, last + 1)
    return seeds


def gpus_of(text: str | None) -> tuple[int, ...] | None:
    """The numbers of `0,1`; none of them for `none`, None where nothing is said."""
    if text is None or text == "none":
        return None if text is None else ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        allowed = "numbers with commas between, such as 0,1, or none"
        raise typer.BadParameter(f"found '{text}'. Allowed: {allowed}.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _checked(text: str | None) -> str | None:
    seeds_of(text)
    return text


def _numbered(text: str | None) -> str | None:
    gpus_of(text)
    return text


SuiteName = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite's file, or the name of a shipped suite.")
]
SuiteNames = Annotated[
    list[str], typer.Argument(metavar="SUITE...", help="Suite files, or names of shipped suites.")
]
ListName = Annotated[
    str,
    typer.Argument(metavar="WHAT", help="suites, methods, distillers, networks or datasets."),
]
ResultsDir = Annotated[
    Path,
    typer.Option("--results", metavar="DIR", file_okay=False, help="Folder of records and tables."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="DIR", envvar="BENCH_DATA", help="Folder of data sets."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value: recipe.epochs=2. Repeatable."),
]
Seeds = Annotated[
    str | None,
    typer.Option(metavar="SEEDS", callback=_checked, help="Not the suite's seeds but 0-4, or 0,2."),
]
Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="KEY=VALUE,...",
        help="A part of it: 'pair=vgg13/*,method=kd|crd,seed=0'. Keys: pair, teacher, student, "
        "method, seed.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Only the first N student runs, and their teachers."),
]
NoPlugins = Annotated[
    bool,
    typer.Option("--no-plugins", help="Refuse a user's own code: see README."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts.")]
Redo = Annotated[
    Overwrite,
    typer.Option(
        "--overwrite",
        help="Redo no run that has a record, those that failed or were skipped, or all.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, do nothing.")]
Gpus = Annotated[
    str | None,
    typer.Option(
        metavar="GPUS",
        callback=_numbered,
        help="GPUs to use, such as 0,1, or none. Without: all, else the CPU.",
    ),
]
PerGpu = Annotated[int, typer.Option(metavar="N", min=1, help="Cohorts at a time on each GPU.")]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Cohorts at a time on a CPU. Without: one a core."),
]
Threads = Annotated[
    int, typer.Option(metavar="N", min=1, help="Threads of each worker on a CPU; rounding varies.")
]
Graphs = Annotated[
    bool,
    typer.Option(
        "--cuda-graphs", help="Launch each step as one, recorded; rounding may vary. On GPUs only."
    ),
]
Inline = Annotated[bool, typer.Option("--inline", help="Train in this process, for debugging.")]
EngineName = Annotated[
    Engine, typer.Option("--executor", help="This machine, a Ray cluster, or Slurm.")
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster", metavar="FILE", help="What to ask Ray or Slurm for: docs/CLUSTERS.md."
    ),
]
TrackerName = Annotated[
    Tracker, typer.Option("--tracker", help="Where to log beside the records, or nowhere.")
]
ViewName = Annotated[
    View, typer.Option("--view", help="How progress is shown: auto is live on a terminal.")
]
Metric = Annotated[
    str,
    typer.Option(
        metavar="METRIC",
        help="top1, top5, nll, ece, agreement, kl, or oracle: the best top-1 on the test set.",
    ),
]
Formats = Annotated[
    str, typer.Option("--format", metavar="FORMATS", help="Of md, tex, csv, json, txt, html.")
]
Standalone = Annotated[
    bool, typer.Option("--standalone", help="LaTeX as a document that compiles as it is.")
]
Published = Annotated[
    bool, typer.Option("--published", help="The papers' value and the gap beside each cell.")
]
PublishedOnly = Annotated[
    bool, typer.Option("--published-only", help="The papers' tables of the suite's pairs alone.")
]
Statistics = Annotated[
    bool,
    typer.Option("--statistics", help="Instead of the table: intervals, verdicts, average ranks."),
]
Versus = Annotated[
    str | None,
    typer.Option("--versus", metavar="METHOD", help="What methods are compared with; else kd."),
]
Which = Annotated[
    str | None,
    typer.Option(
        "--which",
        metavar="KINDS",
        help="Of curves, cost, ablation, ranks, correlation. Without: all that can be drawn.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FILE", help="Where to; without it, RESULTS/SUITE-baseline.json."
    ),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="What `bench baseline` wrote."),
]
AgainstName = Annotated[
    Against, typer.Option("--against", help="Hold records to --baseline, or to the papers' tables.")
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        metavar="T",
        help="How much may be lost, in the metric's unit; for percentages 0.5 points if unsaid.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit 4 where a cell is inconclusive or its setting new.")
]
JUnit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for a CI system.")
]
MarkdownFile = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write a summary for a pull request."),
]
Before = Annotated[Path, typer.Argument(metavar="A", help="A results folder: before.")]
Now = Annotated[Path, typer.Argument(metavar="B", help="A results folder: now.")]
