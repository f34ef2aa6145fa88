"""The verb `status`: read the states of runs from their records."""

from typing import Annotated

from typer import Option

from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import Content, measure_grid, paragraphs, reasons, state_grid, trial_lines
from bench.results import Results


@options.suite_verb("limit")
def command(
    suite: options.SuiteOptions,
    verify: Annotated[
        bool, Option("--verify", help="Read each record's file; do not use the folder's index.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Count a suite's runs by state; list why runs have no result.

    Example: bench status quickstart --results results
    """
    from bench.overview import describe_status

    plan, results = suite.load_plan(recorded=True), Results(suite.results)
    content = describe_status(plan, results, verify=verify)
    print_result(content, status_text, as_json)


def status_text(content: Content) -> str:
    """Return a status as text for people."""
    counts = ", ".join(f"{n} {state}" for state, n in content["counts"].items())
    return paragraphs(
        [f"{content['suite']}: {counts}", *trial_lines(content), *content["looks"]],
        state_grid(content["pairs"]),
        measure_grid(content["measures"]),
        reasons(content["without_result"]),
    )
