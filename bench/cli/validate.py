"""The verb `validate`."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument

from bench.cli import options
from bench.cli.console import echo
from bench.errors import BenchError, ConfigError

if TYPE_CHECKING:
    from bench.suite import Suite


def command(
    names: Annotated[
        list[str], Argument(metavar="SUITE...", help="Suite files, or names of shipped suites.")
    ],
    set_: options.Set = None,
    no_plugins: options.NoPlugins = False,
) -> None:
    """Check suites: every mistake with its line, and warnings.

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
        for warning in [*suites.warnings(suite), *warnings]:
            echo(f"{name}: warning: {warning}")
    if lines:
        raise ConfigError(lines)


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
