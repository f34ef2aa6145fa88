"""The verb `new`: write a new distiller, network or data set, with a test and a suite."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument

from bench.cli.console import echo, print_files


def command(
    kind: Annotated[
        Literal["distiller", "network", "dataset"],
        Argument(metavar="KIND", help="distiller, network or dataset."),
    ],
    name: Annotated[
        str, Argument(metavar="NAME", help="Name of the new file, without .py, such as my_loss.")
    ],
) -> None:
    """Write a new distiller, network or dataset, with a test and a suite.

    The files NAME.py, test_NAME.py and NAME.yaml in the current folder work at once, as an
    example to change. Existing files are never overwritten.

    Example: bench new distiller my_loss
    """
    from bench import templates

    print_files(templates.write(kind, name, Path()))
    definition = templates.definition_name(kind, name)
    echo(f"In suites, its name is {definition}.\n" if definition != name else "")
    echo(
        "Next:\n"
        f"  python -m pytest test_{name}.py   # pip install pytest\n"
        f"  bench validate {name}.yaml\n"
        f"  bench run {name}.yaml\n"
        f"Then change {name}.py, and run the same commands again."
    )
