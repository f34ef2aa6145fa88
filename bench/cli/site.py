"""The verb `site`: write a static site of suites and results folders."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from bench.cli import options
from bench.cli.console import echo, print_error
from bench.config.text import count


def command(
    results: Annotated[
        list[Path],
        Argument(metavar="RESULTS...", help="Results folders, or folders of results folders."),
    ],
    output: Annotated[
        Path, Option("--output", metavar="DIR", file_okay=False, help="Folder of the site.")
    ],
    suites: Annotated[
        list[str] | None,
        Option(
            "--suite",
            metavar="SUITE",
            help="A suite of the records, if its plan is not in the folder. Repeatable.",
        ),
    ] = None,
    title: Annotated[
        str, Option(metavar="TEXT", help="Title of the front page.")
    ] = "Distillation results",
    no_plugins: options.NoPlugins = False,
) -> None:
    """Write a static site of suites, leaderboards, methods and records.

    Example: bench site results --output site
    """
    from bench.site import folder
    from bench.site.content import build_site
    from bench.site.pages import site_files
    from bench.site.sources import find_sources

    folder.check(output)
    site = build_site(find_sources(results, suites or (), plugins=not no_plugins), title)
    files = site_files(site)
    folder.write(output, files)
    for problem in site.problems:
        print_error(problem)
    for each in site.disagreements.values():
        print_error(f"{each.name} ({each.run}): records of different numbers")
    parts = (
        count(len(site.suites), "suite"),
        count(len(site.boards), "leaderboard"),
        count(len(site.methods), "method"),
        count(len(site.pool.copies), "record"),
    )
    echo(f"written: {output / folder.INDEX} and {count(len(files) - 1, 'other file')}: "
         f"{', '.join(parts)}")  # fmt: skip
