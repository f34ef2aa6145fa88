"""Arguments and options of the verbs, each declared once."""

import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

if TYPE_CHECKING:
    from bench.planning.plan import Plan


def parse_gpus(text: str) -> tuple[int, ...]:
    """Return (0, 1) for `0,1` and () for `none`; raise BadParameter for other text."""
    parts = [] if text == "none" else [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        allowed = "numbers separated by commas, such as 0,1, or none"
        raise typer.BadParameter(f"found '{text}'. Allowed: {allowed}.")
    return tuple(dict.fromkeys(map(int, parts)))


ResultsDir = Annotated[
    Path, Option("--results", metavar="DIR", file_okay=False, help="Folder for records and tables.")
]
Versus = Annotated[
    str | None,
    Option(metavar="METHOD", help="Method with which all others are compared; default: kd."),
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
    Option("--set", metavar="KEY=VALUE", help="Change a setting: recipe.epochs=2. Repeatable."),
]
NoPlugins = Annotated[
    bool,
    Option("--no-plugins", help="Refuse suites with plugins, i.e. Python files (docs/SUITES.md)."),
]
AsJson = Annotated[bool, Option("--json", help="Print JSON for scripts.")]
Metric = Annotated[
    str | None,
    Option(
        metavar="METRIC",
        help="top1, top5, nll, ece, agreement, kl, oracle (best test top-1 of any epoch), or a "
        "metric of the suite's measures, such as probe.stl10.top1. Default: top1; agreement if "
        "students have no labels.",
    ),
]
Tolerance = Annotated[
    float | None,
    Option(
        "--tolerance",
        metavar="T",
        help="Largest accepted difference, in the metric's unit. Default: 0.5 for percentages.",
    ),
]
JUnit = Annotated[
    Path | None, Option("--junit", metavar="FILE", help="Write JUnit XML for a CI system.")
]
MarkdownFile = Annotated[
    Path | None, Option("--markdown", metavar="FILE", help="Write a Markdown summary.")
]


@dataclass(frozen=True)
class SuiteOptions:
    """Options of verbs that take a suite: the suite, changes, selected runs, folders."""

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
        str | None, Option(metavar="SEEDS", help="Replace the suite's seeds: 0-4 or 0,2.")
    ] = None
    filter_: Annotated[
        str,
        Option(
            "--filter",
            metavar="KEY=VALUE,...",
            help="Select runs: 'pair=vgg13/*,method=kd|crd,seed=0'. Keys: pair, teacher, student, "
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
        """All changes to the suite as `key=value`: changes by --set, then the change by --seeds."""
        if self.seeds is None:
            return self.set_ or []
        seeds = f"[{self.seeds}]" if self.seeds.isdecimal() else self.seeds
        return [*(self.set_ or []), f"seeds={seeds}"]

    def command(self, verb: str) -> str:
        """Return a command with these options, as it can be pasted into a shell."""
        words = ["--results", str(self.results)]
        for change in self.changes:
            words += ["--set", change]
        values = {
            "--data-root": self.data_root, "--filter": self.filter_, "--limit": self.limit
        }  # fmt: skip
        for option, value in values.items():
            words += [option, str(value)] if value else []
        words += ["--no-plugins"] if self.no_plugins else []
        is_option = self.suite.startswith("-")
        words = [*words, "--", self.suite] if is_option else [self.suite, *words]
        return shlex.join(["bench", verb, *words])

    def load_plan(self, *, recorded: bool = False) -> "Plan":
        """Return the plan of the suite; raise `ConfigError` if the suite is not valid.

        Args:
            recorded: Whether to use the plan that `bench run` saved if the data, the plugins or the
                checkpoints of the suite are missing on this machine.
        """
        from bench import api
        from bench.cli.console import print_error
        from bench.results import Results

        part = self.changes, self.filter_, self.limit, self.data_root
        plugins, results = not self.no_plugins, Results(self.results)
        if not recorded:
            return api.load_plan(self.suite, *part, plugins=plugins, results=results)
        plan, error = api.load_plan_or_saved(self.suite, results, *part, plugins=plugins)
        if error:
            reason = str(error).splitlines()[0]
            print_error(f"{reason}\nThe plan that `bench run` saved is used: {plan.suite.path}")
        return plan


def suite_verb(*omitted: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the options of `SuiteOptions` to the verb's own options.

    The verb receives a `SuiteOptions` as its first argument.

    Args:
        omitted: Fields of `SuiteOptions` for which the verb has no option; these fields keep their
            default values.
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
