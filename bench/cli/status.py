"""The verb `status`: states of runs, from their records."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import Content, paragraphs, reasons, state_grid
from bench.planning.plan import Plan, Run
from bench.results import Results

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate


@options.suite_verb("limit")
def command(suite: options.SuiteOptions, as_json: options.AsJson = False) -> None:
    """Count a suite's runs by state; say why some have no result.

    Example: bench status quickstart --results results
    """
    content = status_content(suite.load_plan(), Results(suite.results))
    print_result(content, status_text, as_json)


def status_content(plan: Plan, results: Results) -> dict[str, Any]:
    """Return the number of runs by state, pair and method, and all runs without a result."""
    runs = run_states(plan, results, {})
    return {
        "suite": plan.suite.name,
        "counts": dict(Counter(run["state"] for run in runs)),
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
    plan: Plan, results: Results, estimates: "Mapping[str, Estimate]"
) -> list[dict[str, str | None]]:
    """Return `id`, `name`, `kind`, `state` and `reason` of each run.

    A state is the status of the run's record, `skipped` for an impossible run, or `to do`.
    """
    names = plan.names()
    return [
        {
            "id": run.id,
            "name": names[run.id],
            "kind": run.kind,
            **_state(run, estimates.get(run.id), results),
        }
        for run in plan.runs.values()
    ]


def _state(run: Run, estimate: "Estimate | None", results: Results) -> dict[str, str | None]:
    record = results.summary(run.id)
    if record is not None and (record.status != "skipped" or estimate is None):
        return {"state": record.status, "reason": record.reason}
    if estimate is None:
        return {"state": "to do", "reason": None}
    state = "to do" if estimate.error is None else "skipped"
    return {"state": state, "reason": estimate.error or estimate.warning}


def pair_states(plan: Plan, runs: Sequence[Content]) -> list[dict[str, Any]]:
    """Return for each pair how many of its teachers, and of each method's runs, have a state."""
    states = {run["id"]: run["state"] for run in runs}
    teachers: dict[str, set[str]] = {}
    methods: dict[str, dict[str, Counter[str]]] = {}
    for cell in plan.cells:
        teachers.setdefault(cell.pair.name, set()).add(cell.teacher)
        counts = methods.setdefault(cell.pair.name, {})
        counts.setdefault(cell.method.name, Counter())[states[cell.run]] += 1
    return [
        {
            "pair": pair,
            "teachers": dict(Counter(states[teacher] for teacher in teachers[pair])),
            "methods": {name: dict(count) for name, count in counts.items()},
        }
        for pair, counts in methods.items()
    ]
