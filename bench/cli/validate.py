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

    Each checkpoint is opened, and each network and distiller is tried on random numbers.

    Example: bench validate suites/*.yaml
    """
    from bench import suite as suites

    lines: list[str] = []
    for name in names:
        try:
            suite = suites.read(suites.find(name), set_ or (), plugins=not no_plugins)
            problems, warnings = check_contents(suite, Results(results) if results else None)
        except ConfigError as error:
            lines += error.lines
            continue
        lines += problems
        echo(f"{name}: {'invalid' if problems else 'valid'}")
        for warning in [*suites.warnings(suite), *warnings]:
            echo(f"{name}: warning: {warning}")
    if lines:
        raise ConfigError(lines)


def check_contents(suite: "Suite", results: Results | None) -> tuple[list[str], list[str]]:
    """Try the networks, distillers and checkpoints of a suite; return problems and warnings.

    Args:
        suite: The suite; each of its networks, distillers and checkpoints is tried.
        results: A results folder to check as well; a warning is, for example, that a teacher's
            accuracy is no better than chance.
    """
    from bench import suite as suites
    from bench.api import find_data_root
    from bench.planning.measures import with_measures
    from bench.planning.plan import plan as make_plan
    from bench.planning.tryout import try_distillers, try_networks
    from bench.report import build
    from bench.training.teacher import checkpoint_problems

    try:
        plan = with_measures(make_plan(suite, find_data_root(None)), find_data_root(None))
        tryouts = [*try_networks(plan), *try_distillers(plan)]
    except BenchError as error:
        return [suites.at_line(suite, "dataset", str(error))], []
    problems, warnings = checkpoint_problems(plan), []
    for tryout in tryouts:
        problems += [suites.at_line(suite, tryout.where, problem) for problem in tryout.problems]
        warnings += [f"{tryout.where}: {warning}" for warning in tryout.warnings]
    if results and not problems:
        warnings += build.warnings_of(build.assemble(plan, results))
    return problems, warnings
