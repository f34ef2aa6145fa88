"""The verb `figures`: draw figures, or print why a figure cannot be drawn."""

from typing import Annotated, Literal

from typer import Option

from bench.cli import options
from bench.cli.console import echo, print_error
from bench.cli.formatting import reasons
from bench.errors import BenchError
from bench.results import Results


@options.suite_verb("limit")
def command(
    suite: options.SuiteOptions,
    metric: options.Metric = None,
    which: Annotated[
        str | None,
        Option(
            metavar="KINDS",
            help="Any of curves,forest,heatmap,pareto,ablation,ranks,gap,tuning,correlation. "
            "Default: all.",
        ),
    ] = None,
    versus: options.Versus = None,
    width: Annotated[
        Literal["column", "page"],
        Option(help="Width of the figures: a paper's column (3.3 inches) or page (6.75 inches)."),
    ] = "page",
    output: options.OutputDir = None,
) -> None:
    """Draw a suite's figures, as PNG and PDF, from its records.

    Example: bench figures quickstart --which curves,pareto
    """
    from bench.api import find_data_root
    from bench.report.figures import Drawn, draw
    from bench.report.figures.style import WIDTHS

    kinds = [] if which is None else [kind.strip() for kind in which.split(",")]
    plan, results = suite.load_plan(recorded=True), Results(suite.results)
    drawn: set[str] = set()
    undrawn: list[dict[str, str]] = []
    root, inches = find_data_root(suite.data_root), WIDTHS[width]
    for figure in draw(plan, results, metric, kinds, root, output, inches, versus):
        if isinstance(figure, Drawn):
            drawn.add(figure.kind)
            echo("\n  ".join([f"written: {', '.join(map(str, figure.files))}", *figure.numbers]))
        else:
            undrawn.append({"state": figure.kind, "reason": figure.reason, "name": figure.pair})
    why = "\n".join(reasons(undrawn))
    if not drawn or not drawn.issuperset(kinds):
        raise BenchError(why)
    if why:
        print_error(why)
