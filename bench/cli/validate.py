"""The verb `validate`: check suites without running them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from bench.cli import options
from bench.cli.console import echo
from bench.errors import BenchError, ConfigError
from bench.results import Results

if TYPE_CHECKING:
    from bench.suite import Suite


def command(
    names: Annotated[
        list[str], Argument(metavar="SUITE...", help="Suite files, or names of shipped suites.")
    ],
    results: Annotated[
        Path | None,
        Option("--results", metavar="DIR", help="Also check the results in this folder."),
    ] = None,
    set_: options.Set = None,
    no_plugins: options.NoPlugins = False,
) -> None:
    """Check suites; print each mistake with its line, and warnings.

    Each checkpoint is opened, and each distiller is called once on random features.

    Example: bench validate suites/*.yaml
    """
    from bench import suite as suites

    lines: list[str] = []
    for name in names:
        try:
            suite = suites.read(suites.find(name), set_ or (), plugins=not no_plugins)
            problems, warnings = check_contents(suite)
        except ConfigError as error:
            lines += error.lines
            continue
        lines += problems
        echo(f"{name}: {'invalid' if problems else 'valid'}")
        doubts = check_results(suite, Results(results)) if results and not problems else []
        for warning in [*suites.warnings(suite), *warnings, *doubts]:
            echo(f"{name}: warning: {warning}")
    if lines:
        raise ConfigError(lines)


def check_results(suite: "Suite", results: Results) -> list[str]:
    """Return warnings about the results of a suite, such as a teacher at chance."""
    from bench.api import find_data_root
    from bench.planning.plan import plan
    from bench.report import build

    return build.warnings_of(build.assemble(plan(suite, find_data_root(None)), results))


def check_contents(suite: "Suite") -> tuple[list[str], list[str]]:
    """Try what a suite names, each distiller and checkpoint; return problems and warnings."""
    from bench import data
    from bench import suite as suites
    from bench.api import find_data_root
    from bench.planning.plan import plan
    from bench.planning.trial import try_distillers
    from bench.training.teacher import checkpoint_problems

    root = find_data_root(None)
    try:
        facts = data.facts(suite.data, root, suite.registry.datasets)
        trials = try_distillers(plan(suite, root), root)
    except BenchError as error:
        return [suites.at_line(suite, "dataset", str(error))], []
    problems, warnings = checkpoint_problems(suite, facts), []
    for trial in trials:
        problems += [suites.at_line(suite, trial.where, problem) for problem in trial.problems]
        warnings += [f"{trial.where}: {warning}" for warning in trial.warnings]
    return problems, warnings
