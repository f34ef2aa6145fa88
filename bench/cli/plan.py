"""The verb `plan`, and the output of `run --dry-run`."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Option

from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import (
    Content,
    measure_grid,
    paragraphs,
    reasons,
    state_grid,
    table,
    trial_lines,
)
from bench.config.text import count
from bench.results import Results

if TYPE_CHECKING:
    from bench.api import Machine


@options.suite_verb()
def command(
    suite: options.SuiteOptions,
    measure: Annotated[
        bool, Option("--measure", help="Time each network and method for a few seconds.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show the runs that are to do, done or skipped, and their cost.

    Example: bench plan suites/cifar100_same_arch.yaml --filter method=crd
    """
    from bench.api import Machine

    print_plan(suite, Machine(), as_json, measure)


def print_plan(
    suite: options.SuiteOptions, machine: "Machine", as_json: bool, measure: bool = False
) -> None:
    """Print the plan of a suite on a machine."""
    from bench.overview import describe_plan

    results = Results(suite.results)
    content = describe_plan(
        suite.load_plan(), results, machine, data_root=suite.data_root, measured=measure
    )
    print_result(content, plan_text, as_json)


def plan_text(content: Content) -> str:
    """Return a plan as text for people."""
    networks = "networks, with multiply-adds per image"
    memory = "memory banks and other buffers, the maximum over all pairs"
    return paragraphs(
        [
            _summary(content["suite"], content["runs"]),
            *_ignored(content),
            *content["experiment"],
            *trial_lines(content),
            *_trials_to_do(content["trials_to_do"]),
            *content["looks"],
            _work(content),
            *_forecast(content["forecast"] if content["cohorts"] else None),
            *_at_most(content["at_most"]),
        ],
        [f"missing: {line}" for line in content["missing"]],
        [f"warning: {line}" for line in content["warnings"]],
        state_grid(content["pairs"]),
        measure_grid(content["measures"]),
        [networks, table(content["networks"])],
        [memory, table(content["memory"])] if content["memory"] else "",
        reasons(content["runs"]),
    )


def _summary(suite: str, runs: Sequence[Content]) -> str:
    """Return `toy: 2 students (1 done, 1 to do), 1 teacher (1 done)`."""
    parts = []
    for kind in ("student", "teacher"):
        states = Counter(run["state"] for run in runs if run["kind"] == kind)
        counts = ", ".join(f"{n} {state}" for state, n in states.items())
        parts.append(f"{count(states.total(), kind)} ({counts})")
    return f"{suite}: {', '.join(parts)}"


def _ignored(content: Content) -> list[str]:
    number = content["ignored_files"]
    return [f"data: {count(number, 'file')} ignored: hidden, or not an image"] if number else []


def _trials_to_do(content: Content | None) -> list[str]:
    """Return the number and the cost of the runs of trials that can start."""
    if content is None:
        return []
    later = f"; {count(content['later'], 'trial')} later" if content["later"] else ""
    before = f"trials to do before the table: {count(content['runs'], 'run')} now{later}"
    return [before, *_forecast(content["forecast"])]


def _at_most(content: Content | None) -> list[str]:
    """Return the number and the cost of the runs if no further verdict settles."""
    if content is None:
        return []
    text = f"at most, if no further verdict settles: {count(content['runs'], 'run')} to do"
    return [text, *_forecast(content["forecast"])]


def _forecast(needs: Content | None) -> list[str]:
    """Return the time, memory and disk that runs will need."""
    if needs is None:
        return []
    size = f"{_bytes(needs['memory'])} of memory for the largest cohort, without activations"
    disk = f"{_bytes(needs['disk'])} of disk"
    if needs["kept"]:
        disk += f" ({_bytes(needs['kept'])} more with --keep-teacher)"
    if needs["seconds"] is None:
        return [f"time: unknown; `bench plan --measure` finds it. {size}; {disk}"]
    rest = (
        f"; {count(needs['unknown'], 'run')} estimated from multiply-adds"
        if needs["unknown"]
        else ""
    )
    return [f"about {duration(needs['seconds'])} ({needs['source']}{rest}). {size}; {disk}"]


def duration(seconds: float) -> str:
    """Return `40 s`, `3 min` or `5.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(number, 1e5) / 1e6:.1f} MB"


def _work(content: Content) -> str:
    """Return how many cohorts (runs that train together) are to do, and on which devices."""
    if not content["cohorts"]:
        return "nothing to do"
    places = []
    for device in content["devices"]:
        gpu = "" if device["device"] == "cpu" else f"{device['device']}, "
        places.append(f"{device['at_a_time']} at a time on {gpu}{device['name']}")
    cohort_count = count(content["cohorts"], "cohort")
    return f"to do: {cohort_count} (runs that share the teacher's passes), {'; '.join(places)}"
