"""The verb `validate`: check suites without running them."""

from typing import Annotated

from typer import Argument

from bench.cli import options
from bench.cli.console import echo
from bench.errors import ConfigError


def command(
    names: Annotated[
        list[str], Argument(metavar="SUITE...", help="Suite files, or names of shipped suites.")
    ],
    set_: options.Set = None,
    no_plugins: options.NoPlugins = False,
) -> None:
    """Check suites; print each mistake with its line, and warnings.

    Example: bench validate suites/*.yaml
    """
    from bench import suite as suites

    lines: list[str] = []
    for name in names:
        try:
            suite = suites.read(suites.find(name), set_ or (), plugins=not no_plugins)
        except ConfigError as error:
            lines += error.lines
        else:
            echo(f"{name}: valid")
            for warning in suites.warnings(suite):
                echo(f"{name}: warning: {warning}")
    if lines:
        raise ConfigError(lines)
