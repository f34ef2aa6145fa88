"""The verb `validate`."""

from typing import Annotated

from typer import Argument

from bench import suite as suites
from bench.cli import options
from bench.cli.console import echo
from bench.errors import Mistakes


def command(
    names: Annotated[
        list[str],
        Argument(metavar="SUITE...", help="Suite files, or names of shipped suites."),
    ],
    set_: options.Set = None,
    no_plugins: options.NoPlugins = False,
) -> None:
    """Check suites: every mistake with its line, and warnings.

    Example: bench validate suites/*.yaml
    """
    mistakes: list[str] = []
    with options.plugins_refused(no_plugins):
        for name in names:
            try:
                suite = suites.read(suites.find(name), set_ or ())
            except Mistakes as error:
                mistakes += error.lines
            else:
                echo(f"{name}: valid")
                for warning in suites.warnings(suite):
                    echo(f"{name}: warning: {warning}")
    if mistakes:
        raise Mistakes(mistakes)
