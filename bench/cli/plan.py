"""The verb `plan`, and `run --dry-run`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import Content, count, paragraphs, reasons, state_grid, table
from bench.cli.status import pair_states, run_states
from bench.results import Results

if TYPE_CHECKING:
    from bench.api import Machine
    from bench.planning.estimate import Estimate
    from bench.planning.plan import Plan


@options.suite_verb()
def command(suite: options.SuiteOptions, as_json: options.AsJson = False) -> None:
    """Show what would run, what is done or skipped, and what it takes.

    Example: bench plan suites/cifar100_same_arch.yaml --filter method=crd
    """
    from bench.api import Machine

    print_plan(suite, Machine(), as_json)


def print_plan(suite: options.SuiteOptions, machine: "Machine", as_json: bool) -> None:
    """Print the plan of a suite on a machine."""
    content = plan_content(suite.load_plan(), Results(suite.results), machine, suite.data_root)
    print_result(content, plan_text, as_json)


def plan_content(
    plan: "Plan", results: Results, machine: "Machine", data_root: Path | None = None
) -> dict[str, Any]:
    """Return each run with its state, counts by pair and method, and what the plan takes.

    Args:
        plan: The plan.
        results: Folder of the records.
        machine: Where the runs would train.
        data_root: Folder of data sets; None: the environment variable `BENCH_DATA`.
    """
    import torch

    from bench.api import find_data_root
    from bench.execution.runner import pending
    from bench.planning.estimate import estimate
    from bench.planning.plan import cohorts
    from bench.results.environment import device_name

    slots = Counter(machine.devices())
    estimates = estimate(plan, find_data_root(data_root))
    runs = run_states(plan, results, estimates)
    possible = [run for run in pending(plan, results, "failed") if estimates[run.id].error is None]
    place = "a cluster" if machine.cluster else None
    return {
        "suite": plan.suite.name,
        "runs": runs,
        "pairs": pair_states(plan, runs),
        "cohorts": len(cohorts(possible)),
        "devices": [
            {"device": name, "name": place or device_name(torch.device(name)), "at_a_time": number}
            for name, number in slots.items()
        ],
        "networks": _costs(plan, estimates),
        "memory": _memory(plan, estimates),
    }


def plan_text(content: Content) -> str:
    """Return a plan as text for people."""
    networks = "networks, and their multiply-adds for one image"
    memory = "memory banks and other buffers, the most of all pairs"
    return paragraphs(
        [_summary(content["suite"], content["runs"]), _work(content)],
        state_grid(content["pairs"]),
        [networks, table(content["networks"])],
        [memory, table(content["memory"])] if content["memory"] else "",
        reasons(content["runs"]),
    )


def _costs(plan: "Plan", estimates: "Mapping[str, Estimate]") -> list[dict[str, Any]]:
    """Parameters and multiply-adds of every network of the plan."""
    runs = plan.runs.values()
    networks = {run.specification.network: estimates[run.id].network for run in runs}
    return [{"network": name, **asdict(cost)} for name, cost in networks.items() if cost]


def _memory(plan: "Plan", estimates: "Mapping[str, Estimate]") -> list[dict[str, Any]]:
    """Bytes of the buffers of each method: the most of all pairs."""
    most: Counter[str] = Counter()
    for cell in plan.cells:
        most[cell.method.name] = max(most[cell.method.name], estimates[cell.run].memory)
    return [{"method": name, "bytes": size} for name, size in most.items() if size]


def _summary(suite: str, runs: Sequence[Content]) -> str:
    """`toy: 2 students (1 done, 1 to do), 1 teacher (1 done)`."""
    parts = []
    for kind in ("student", "teacher"):
        states = Counter(run["state"] for run in runs if run["kind"] == kind)
        counts = ", ".join(f"{n} {state}" for state, n in states.items())
        parts.append(f"{count(states.total(), kind)} ({counts})")
    return f"{suite}: {', '.join(parts)}"


def _work(content: Content) -> str:
    """How many cohorts are to do, and on which devices."""
    if not content["cohorts"]:
        return "nothing to do"
    places = []
    for device in content["devices"]:
        gpu = "" if device["device"] == "cpu" else f"{device['device']}, "
        places.append(f"{device['at_a_time']} at a time on {gpu}{device['name']}")
    cohort_count = count(content["cohorts"], "cohort")
    return f"to do in {cohort_count}, of runs that share a teacher's passes: {'; '.join(places)}"
