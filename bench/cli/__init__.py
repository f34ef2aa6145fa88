"""The command line: each verb reads its arguments, calls one function, prints what it returns.

What brings torch, mlflow or pandas is imported inside the verbs: `bench --help` is instant.
"""

import sys
from collections.abc import Callable

import typer

from bench.cli import drawing, guarding, looking, mending, training

BROKEN = 5  # exit code of an error that nobody foresaw

app = typer.Typer(
    name="bench",
    help="Benchmarks of knowledge distillation: suites in YAML, tables as in the papers.",
    epilog="Exit codes: 0 done, 1 regression, 2 wrong use, 3 some runs failed, 4 inconclusive, "
    "5 an error of bench itself.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes three times as long to import as all the rest
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100},
)

EXAMPLES: dict[Callable[..., None], str] = {
    training.run: "bench run suites/quickstart.yaml",
    training.plan: "bench plan suites/cifar100_same_arch.yaml --filter method=crd",
    training.status: "bench status quickstart --results results",
    training.report: "bench report quickstart --metric nll",
    drawing.figures: "bench figures quickstart --which curves,cost",
    guarding.baseline: "bench baseline quickstart --results results --output baseline.json",
    guarding.check: "bench check quickstart --baseline baseline.json --tolerance 0.5",
    guarding.compare: "bench compare results.before results --tolerance 0.5",
    mending.sync: "bench sync quickstart --results results",
    looking.list_: "bench list methods",
    looking.show: "bench show suites/quickstart.yaml --set recipe.epochs=2",
    looking.validate: "bench validate suites/*.yaml",
    training.teachers: "bench teachers suites/cifar100_same_arch.yaml",
    looking.ui: "bench ui --results results --port 5000",
    looking.clean: "bench clean --results results --yes",
}

for verb, example in EXAMPLES.items():
    app.command(verb.__name__.rstrip("_"), epilog=f"Example: {example}")(verb)


def main() -> None:
    """Run the command line; a user's mistake ends in a sentence, never in a traceback.

    Only our own mistakes do, and with a code of their own: Python's would be that of a regression.
    """
    try:
        app(prog_name="bench")
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(BROKEN)
