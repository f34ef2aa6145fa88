"""The verb `check`: find regressions."""

from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from bench import regression
from bench.cli import options
from bench.cli.compare import report_verdicts
from bench.errors import BenchError
from bench.report import build
from bench.results import Results

Against = Literal["baseline", "published"]


@options.suite_verb("limit")
def command(
    suite: options.SuiteOptions,
    baseline: Annotated[
        Path | None, Option(metavar="FILE", help="A file written by `bench baseline`.")
    ] = None,
    against: Annotated[
        Against, Option(help="Compare with --baseline, or with the papers' tables.")
    ] = "baseline",
    metric: options.Metric = None,
    tolerance: options.Tolerance = None,
    strict: Annotated[
        bool, Option("--strict", help="Exit 4 if a cell is inconclusive or its settings changed.")
    ] = False,
    as_json: options.AsJson = False,
    junit: options.JUnit = None,
    markdown: options.MarkdownFile = None,
) -> None:
    """Compare records with a baseline, or with the papers' tables.

    Example: bench check quickstart --baseline baseline.json --tolerance 0.5
    """
    _check_flags(suite.suite, baseline, against, metric)
    reference = regression.read(baseline) if baseline else None
    plan = suite.load_plan(recorded=True)
    entries = build.entries(plan, Results(suite.results))
    if reference:
        complete = not suite.filter_
        verdicts = regression.check(entries, reference, metric, tolerance, complete=complete)
    else:
        verdicts = regression.against_published(entries, _papers(), plan.suite.name, tolerance)
    report_verdicts(verdicts, strict, as_json, junit, markdown)


def _check_flags(suite: str, baseline: Path | None, against: Against, metric: str | None) -> None:
    """Raise BenchError if flags contradict each other, or --baseline is missing."""
    if against == "published":
        if baseline:
            raise BenchError("--baseline: not used with --against published; remove one option")
        if metric not in (None, "top1"):
            raise BenchError(f"--metric {metric}: the papers' tables hold only top1")
    elif baseline is None:
        raise BenchError(
            "--baseline: missing. Allowed: a file that "
            f"`bench baseline {suite} --results DIR` wrote, or --against published"
        )


def _papers() -> dict[str, dict[str, Any]]:
    """Return the distillers, weights and options of each method in its paper.

    Keys are `METHOD`, and `METHOD TEACHER/STUDENT` for pairs with settings of their own.
    """
    from bench import suite as suites

    names = [
        (name, pair)
        for name, entry in suites.canonical().items()
        for pair in ("", *entry.get("pairs", ()))
    ]
    return {
        f"{name} {pair}".strip(): {
            term: value.content for term, value in suites.papers(name, pair).items()
        }
        for name, pair in names
    }
