"""The verb `show`: print a resolved suite."""

from bench.cli import options


@options.suite_verb("results", "data_root", "filter_", "limit")
def command(suite: options.SuiteOptions) -> None:
    """Print a suite with every value and its origin.

    Example: bench show suites/quickstart.yaml --set recipe.epochs=2
    """
    from bench import suite as suites

    path, plugins = suites.find(suite.suite), not suite.no_plugins
    print(suites.render(suites.read(path, suite.changes, plugins=plugins)), end="")
