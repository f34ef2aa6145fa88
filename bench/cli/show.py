"""The verb `show`."""

from bench import suite as suites
from bench.cli import options


@options.suite_verb("results", "data_root", "filter_", "limit")
def command(suite: options.SuiteOptions) -> None:
    """Print a suite with every value, and where each comes from.

    Example: bench show suites/quickstart.yaml --set recipe.epochs=2
    """
    print(suites.render(suites.read(suites.find(suite.suite), suite.changes)), end="")
