"""Arguments and options of the verbs, each declared once."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.planning.plan import Plan


def parse_gpus(text: str) -> tuple[int, ...]:
    """Return the numbers of `0,1`, () for `none`; raise BadParameter."""
    parts = [] if text == "none" else [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        allowed = "numbers separated by commas, such as 0,1, or none"
        raise typer.BadParameter(f"found '{text}'. Allowed: {allowed}.")
    return tuple(dict.fromkeys(map(int, parts)))


ResultsDir = Annotated[
    Path, Option("--results", metavar="DIR", file_okay=False, help="Folder of records and tables.")
]
OutputDir = Annotated[
    Path | None,
    Option(
        "--output",
        metavar="DIR",
        file_okay=False,
        help="Folder to write to; default: DIR of --results.",
    ),
]
Set = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Change a value: recipe.epochs=2. Repeatable."),
]
NoPlugins = Annotated[
    bool, Option("--no-plugins", help="Refuse Python files that a suite names (docs/SUITES.md).")
]
AsJson = Annotated[bool, Option("--json", help="Print JSON for scripts.")]
Metric = Annotated[
    str,
    Option(
        metavar="METRIC",
        help="top1, top5, nll, ece, agreement, kl, or oracle: the best top-1 on the test set.",
    ),
]
Tolerance = Annotated[
    float | None,
    Option(
        "--tolerance",
        metavar="T",
        help="Largest tolerated difference, in the metric's unit; default for percentages: 0.5.",
    ),
]
JUnit = Annotated[
    Path | None, Option("--junit", metavar="FILE", help="Write JUnit XML for a CI system.")
]
MarkdownFile = Annotated[
    Path | None, Option("--markdown", metavar="FILE", help="Write a summary for a pull request.")
]


@dataclass(frozen=True)
class SuiteOptions:
    """The options of verbs about a suite: which suite, which part of it, which folders."""

    suite: Annotated[
        str, Argument(metavar="SUITE", help="A suite file, or the name of a shipped suite.")
    ]
    results: ResultsDir = Path("results")
    data_root: Annotated[
        Path | None,
        Option("--data-root", metavar="DIR", envvar="BENCH_DATA", help="Folder of data sets."),
    ] = None
    set_: Set = None
    seeds: Annotated[
        str | None, Option(metavar="SEEDS", help="Replace the suite's seeds: 0-4, or 0,2.")
    ] = None
    filter_: Annotated[
        str,
        Option(
            "--filter",
            metavar="KEY=VALUE,...",
            help="Select cells: 'pair=vgg13/*,method=kd|crd,seed=0'. Keys: pair, teacher, student, "
            "method, seed.",
        ),
    ] = ""
    limit: Annotated[
        int | None,
        Option(metavar="N", min=1, help="Only the first N student runs, and their teachers."),
    ] = None
    no_plugins: NoPlugins = False

    @property
    def changes(self) -> list[str]:
        """All changes to the suite, each `key=value`; --seeds is short for one of them."""
        if self.seeds is None:
            return self.set_ or []
        seeds = f"[{self.seeds}]" if self.seeds.isdecimal() else self.seeds
        return [*(self.set_ or []), f"seeds={seeds}"]

    def load_plan(self, *, recorded: bool = False) -> "Plan":
        """Return the plan of the suite; raise `ConfigError`.

        Args:
            recorded: Whether the plan that `bench run` saved is used where the data, the plugins or
                the checkpoints of the suite are missing here.
        """
        from bench import api
        from bench.cli.console import print_error
        from bench.results import Results

        part = self.filter_, self.limit
        try:
            return api.load_plan(
                self.suite, self.changes, *part, self.data_root, plugins=not self.no_plugins
            )
        except BenchError as error:
            results = Results(self.results)
            plan = recorded and api.load_saved_plan(self.suite, results, self.changes, *part)
            if not plan:
                raise
            lines = str(error).splitlines()
            print_error(f"{lines[0]}\nThe plan that `bench run` saved is used: {plan.suite.path}")
            return plan


def suite_verb(*omitted: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare the options of `SuiteOptions`, except those omitted, in front of a verb's own.

    The verb receives them as its first argument.
    """
    parameters = inspect.signature(SuiteOptions).parameters
    shared = [parameter for name, parameter in parameters.items() if name not in omitted]

    def declare(verb: Callable[..., None]) -> Callable[..., None]:
        @wraps(verb)
        def command(**values: Any) -> None:
            verb(SuiteOptions(**{p.name: values.pop(p.name) for p in shared}), **values)

        _, *others = inspect.signature(verb).parameters.values()
        signature = inspect.Signature([*shared, *others])
        command.__signature__ = signature  # type: ignore[attr-defined]
        return command

    return declare
