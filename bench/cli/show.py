"""The verb `show`: print a resolved suite."""

from bench.cli import options


@options.suite_verb("results", "data_root", "filter_", "limit")
def command(suite: options.SuiteOptions) -> None:
    """Print a suite with every value and its origin.

    Example: bench show suites/quickstart.yaml --set recipe.epochs=2
    """
    from bench import data
    from bench import suite as suites
    from bench.errors import MissingData
    from bench.planning.estimate import stages_of

    path, plugins = suites.find(suite.suite), not suite.no_plugins
    content = suites.read(path, suite.changes, plugins=plugins)
    print(suites.render(content), end="")
    try:
        stages = stages_of(content, data.facts(content.data, None, content.registry.datasets))
    except MissingData as error:
        stages = {"unknown": str(error)}
    print("# stages of the networks, as layer and shape")
    print("".join(f"# {network}: {text}\n" for network, text in stages.items()), end="")
