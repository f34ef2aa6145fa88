"""The verb `show`: print a resolved suite."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.cache import cached
from bench.cli import options
from bench.errors import BenchError, MissingData

if TYPE_CHECKING:
    from bench.data import Facts
    from bench.spec import TermSpec
    from bench.suite import Suite


def pair_settings(suite: "Suite") -> Iterator[str]:
    """Yield a line for each pair of the suite that a method's authors train with special settings.

    A further line gives the method's settings for all other pairs.
    """
    for method in suite.methods:
        for pair in dict.fromkeys(pair.networks for pair in suite.pairs):
            changes = [
                f"{name}.{key} {value} (other pairs: {usual.get(key)})"
                for name, term in method.pairs.get(pair, {}).items()
                for usual in (settings(method.terms[name]),)
                for key, value in settings(term).items()
                if value != usual.get(key)
            ]
            if changes:
                yield f"{method.name} for {pair}, by its authors: {', '.join(changes)}"
        if method.pairs:
            terms = (
                f"{name} ({', '.join(f'{key} {value}' for key, value in settings(term).items())})"
                for name, term in method.terms.items()
            )
            yield f"{method.name} for other pairs: {' + '.join(terms)}"


def settings(term: "TermSpec") -> dict[str, object]:
    """Return the weight, the warmup if there is one, and the options of a loss term."""
    warmup = {"warmup": term.warmup} if term.warmup else {}
    return {"weight": term.weight, **warmup, **term.options}


def choices(suite: options.SuiteOptions) -> Iterator[str]:
    """Yield a line for each method that the suite tunes, and for each group's seeds so far."""
    from bench.overview import looks

    try:
        plan = suite.load_plan(recorded=True)
    except BenchError as error:
        yield f"trials and seeds: unknown: {str(error).splitlines()[0]}"
        return
    for search in plan.searches:
        yield f"{search.method} on {search.pair}: {search.text}"
    yield from looks(plan)


def stages(suite: "Suite", facts: "Facts") -> dict[str, str]:
    """Return the stages of a suite's networks by name; see `bench.planning.estimate.stages_of`."""

    def measure() -> dict[str, str]:
        from bench.planning.estimate import stages_of  # imports torch

        return stages_of(suite, facts)

    if suite.registry.has_plugins:
        return measure()
    names = [name for pair in suite.pairs for name in (pair.teacher.network, pair.student)]
    networks = [names, suite.stages, suite.registry.options]
    stages: dict[str, str] = cached(["stages", *networks, facts.classes, facts.size], measure)
    return stages


@options.suite_verb("data_root", "filter_", "limit")
def command(suite: options.SuiteOptions) -> None:
    """Print a suite with every value and its origin.

    Example: bench show suites/quickstart.yaml --set recipe.epochs=2
    """
    from bench import data
    from bench import suite as suites
    from bench.report.experiment import describe

    path, plugins = suites.find(suite.suite), not suite.no_plugins
    content = suites.read(path, suite.changes, plugins=plugins)
    print(suites.render(content), end="")
    for line in describe(content):
        print(f"# {line}")
    try:
        facts = data.facts(content.data, None, content.registry.datasets)
        lines = stages(content, facts)
    except MissingData as error:
        lines = {"unknown": str(error)}
    for line in (
        *pair_settings(content),
        *(choices(suite) if content.tune or content.settling else ()),
    ):
        print(f"# {line}")
    print("# stages of the networks, as layer and shape")
    print("".join(f"# {network}: {text}\n" for network, text in lines.items()), end="")
