"""The verb `validate`: check suites without running them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from bench.cache import cached
from bench.cli import options
from bench.cli.console import echo
from bench.errors import BenchError, ConfigError
from bench.results import Results, sha256
from bench.suite import at_line

if TYPE_CHECKING:
    from bench.planning.plan import Plan
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
    from bench.api import find_data_root
    from bench.planning.measures import with_measures
    from bench.planning.plan import plan as make_plan
    from bench.report import build

    try:
        plan = with_measures(make_plan(suite, find_data_root(None)), find_data_root(None))
        problems, warnings = try_out(plan)
    except BenchError as error:
        return [at_line(suite, "dataset", str(error))], []
    if results and not problems:
        warnings += build.warnings_of(build.assemble(plan, results))
    return problems, warnings


def try_out(plan: "Plan") -> tuple[list[str], list[str]]:
    """Return problems and warnings of a plan's networks, distillers and checkpoints.

    The result is kept in the cache, unless the suite has plugins or files of weights.
    """

    def compute() -> tuple[list[str], list[str]]:
        from bench.planning.tryout import try_distillers, try_networks  # imports torch
        from bench.training.teacher import checkpoint_problems

        tryouts = [*try_networks(plan), *try_distillers(plan)]
        problems, warnings = checkpoint_problems(plan), []
        for tryout in tryouts:
            problems += [at_line(suite, tryout.where, problem) for problem in tryout.problems]
            warnings += [f"{tryout.where}: {warning}" for warning in tryout.warnings]
        return problems, warnings

    suite = plan.suite
    files = suite.init or any(pair.teacher.checkpoint for pair in suite.pairs)
    if suite.registry.has_plugins or files:
        return compute()
    facts = [asdict(facts) for facts in (plan.facts, plan.teacher_facts) if facts]
    inputs = str(suite.path), sha256(suite.path), suite.changes, facts, list(plan.runs)
    problems, warnings = cached(["validate", *inputs], compute)
    return problems, warnings
