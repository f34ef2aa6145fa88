"""The verb `status`: read the states of runs from their records."""

from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import Content, measure_grid, paragraphs, reasons, state_grid, trial_lines
from bench.results import Results


@options.suite_verb("limit")
def command(suite: options.SuiteOptions, as_json: options.AsJson = False) -> None:
    """Count a suite's runs by state; list why runs have no result.

    Example: bench status quickstart --results results
    """
    from bench.overview import describe_status

    content = describe_status(suite.load_plan(recorded=True), Results(suite.results))
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
