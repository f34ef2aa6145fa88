"""The verb `show`: print a resolved suite."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.cli import options

if TYPE_CHECKING:
    from bench.suite import Suite


def pair_settings(suite: "Suite") -> Iterator[str]:
    """Yield a line for each method with settings of its authors for one of the suite's pairs."""
    for method in suite.methods:
        for pair in dict.fromkeys(pair.networks for pair in suite.pairs):
            terms = method.pairs.get(pair, {})
            changes = [
                f"{name}.{key} {value} (papers: {before.get(key)})"
                for name, term in terms.items()
                for before in ({"weight": method.terms[name].weight, **method.terms[name].options},)
                for key, value in {"weight": term.weight, **term.options}.items()
                if value != before.get(key)
            ]
            if changes:
                yield f"{method.name} for {pair}, by its authors: {', '.join(changes)}"


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
    for line in pair_settings(content):
        print(f"# {line}")
    print("# stages of the networks, as layer and shape")
    print("".join(f"# {network}: {text}\n" for network, text in stages.items()), end="")
