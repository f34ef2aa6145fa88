"""The verb `status`: states of runs, from their records."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import Content, paragraphs, reasons, state_grid
from bench.results import Results

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate
    from bench.planning.plan import Plan


@options.suite_verb("limit")
def command(suite: options.SuiteOptions, as_json: options.AsJson = False) -> None:
    """Count a suite's runs by state; say why some have no result.

    Example: bench status quickstart --results results
    """
    content = status_content(suite.load_plan(), Results(suite.results))
    print_result(content, status_text, as_json)


def status_content(plan: "Plan", results: Results) -> dict[str, Any]:
    """Return the number of runs by state, pair and method, and all runs without a result."""
    runs = run_states(plan, results, {})
    return {
        "suite": plan.suite.name,
        "counts": Counter(run["state"] for run in runs),
        "pairs": pair_states(plan, runs),
        "without_result": [run for run in runs if run["state"] != "done"],
    }


def status_text(content: Content) -> str:
    """Return a status as text for people."""
    counts = ", ".join(f"{n} {state}" for state, n in content["counts"].items())
    return paragraphs(
        f"{content['suite']}: {counts}",
        state_grid(content["pairs"]),
        reasons(content["without_result"]),
    )


def run_states(
    plan: "Plan", results: Results, estimates: "Mapping[str, Estimate]"
) -> list[dict[str, str | None]]:
    """Return `id`, `name`, `kind`, `state` and `reason` of each run.

    A state is the status of the run's record, `skipped` for an impossible run, or `to do`.
    """
    rows = []
    for id, run in plan.runs.items():
        record, estimate = results.summary(id), estimates.get(id)
        state, reason = (record.status, record.reason) if record else ("to do", None)
        if estimate and (record is None or record.status == "skipped"):
            state = "skipped" if estimate.error else "to do"
            reason = estimate.error or estimate.warning
        names = {"id": id, "name": plan.names()[id], "kind": run.kind}
        rows.append({**names, "state": state, "reason": reason})
    return rows


def pair_states(plan: "Plan", runs: Sequence[Content]) -> list[dict[str, Any]]:
    """Return for each pair how many of its teachers, and of each method's runs, have a state."""
    states = {run["id"]: run["state"] for run in runs}
    teachers: dict[str, dict[str, str]] = {}
    methods: dict[str, dict[str, Counter[str]]] = {}
    for cell in plan.cells:
        teachers.setdefault(cell.pair.name, {})[cell.teacher] = states[cell.teacher]
        counts = methods.setdefault(cell.pair.name, {})
        counts.setdefault(cell.method.name, Counter())[states[cell.run]] += 1
    return [
        {"pair": pair, "teachers": Counter(teachers[pair].values()), "methods": counts}
        for pair, counts in methods.items()
    ]
