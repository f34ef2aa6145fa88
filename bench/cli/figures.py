"""The verb `figures`."""

from typing import Annotated

from typer import Option

from bench import api
from bench.cli import options
from bench.cli.console import echo, print_error
from bench.cli.formatting import reasons
from bench.errors import BenchError
from bench.report.figures import NotDrawn, draw
from bench.results import Results


@options.suite_verb("limit")
def command(
    suite: options.SuiteOptions,
    metric: options.Metric = "top1",
    which: Annotated[
        str | None,
        Option(
            metavar="KINDS",
            help="Of curves, cost, ablation, ranks, correlation. Without: all that can be drawn.",
        ),
    ] = None,
) -> None:
    """Draw a suite's figures, as PNG and PDF, from its records.

    Example: bench figures quickstart --which curves,cost
    """
    kinds = [] if which is None else [kind.strip() for kind in which.split(",")]
    root = api.find_data_root(suite.data_root)
    drawn: set[str] = set()
    undrawn: list[NotDrawn] = []
    for figure in draw(suite.load_plan(), Results(suite.results), metric, kinds, root):
        if isinstance(figure, NotDrawn):
            undrawn.append(figure)
            continue
        drawn.add(figure.kind)
        echo("\n  ".join([f"written: {', '.join(map(str, figure.files))}", *figure.numbers]))
    if not drawn or not drawn.issuperset(kinds):
        raise BenchError(_reasons(undrawn))
    if undrawn:
        print_error(_reasons(undrawn))


def _reasons(undrawn: list[NotDrawn]) -> str:
    """A line for each reason why figures of a kind cannot be drawn, with the first pair."""
    return "\n".join(
        reasons({"state": u.kind, "reason": u.reason, "name": u.pair} for u in undrawn)
    )
