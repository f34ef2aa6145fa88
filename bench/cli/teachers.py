"""The verb `teachers`: list a suite's teachers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from bench.cli import options
from bench.cli.console import RUNS_FAILED, print_result
from bench.cli.formatting import Content, paragraphs, table
from bench.results import Results

REFUSED = "refused"  # state of a checkpoint whose accuracy differs from the suite's `top1`

if TYPE_CHECKING:
    from bench.planning.plan import Plan, Run


@options.suite_verb("seeds", "filter_", "limit")
def command(
    suite: options.SuiteOptions,
    inspect: Annotated[
        Path | None,
        Option(
            metavar="FILE", help="Show what a weights file contains and which teachers it fits."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show each teacher of a suite: origin, accuracy, weights.

    Example: bench teachers suites/cifar100_same_arch.yaml
    """
    plan = suite.load_plan(recorded=True)
    if inspect:
        from bench.training.inspection import inspect_file, inspection_text

        print_result(inspect_file(inspect, plan), inspection_text, as_json)
        return
    rows = teacher_rows(plan, Results(suite.results))
    print_result(rows, teachers_text, as_json)
    if any(row["state"] == REFUSED for row in rows):
        raise typer.Exit(RUNS_FAILED)


def teacher_rows(plan: "Plan", results: Results) -> list[dict[str, Any]]:
    """Return a row per teacher and seed: origin, state, accuracy in percent, weights.

    Each member of an ensemble has a row of its own, before the row of the ensemble.
    """
    rows = []
    teachers = {cell.teacher for cell in plan.cells}
    teachers |= {member for id in teachers for member in plan.runs[id].specification.members}
    for run in (run for run in plan.runs.values() if run.id in teachers):
        record, weights = results.summary(run.id), results.weights(run.id)
        broken = record and run.checkpoint and run.checkpoint.broken_promise(record.top1)
        rows.append(
            {
                "network": run.specification.network,
                "seed": run.specification.seed,
                "from": _origin(run),
                "state": REFUSED if broken else record.status if record else "to do",
                "top1": record.top1 if record else None,
                "manifest": run.checkpoint.top1 if run.checkpoint else None,
                "weights": str(weights) if weights.exists() else None,
                "sha256": record.weights if record else None,
                "reason": broken or (record.reason if record else None),
            }
        )
    return rows


def _origin(run: "Run") -> str:
    """Return a teacher's origin: the path of a file, `3 members` (an ensemble) or `training`."""
    if run.checkpoint:
        return str(run.checkpoint.path)
    members = len(run.specification.members)
    return f"{members} members" if members else "training"


def teachers_text(rows: Sequence[Content]) -> str:
    """Return teachers as a table for people, then the reasons for missing results."""
    columns = [
        {
            "teacher": row["network"],
            **{key: row[key] for key in ("seed", "from", "state")},
            "top-1": row["top1"],
            "expected": row["manifest"],
            "weights": row["weights"],
            "sha256": row["sha256"] and row["sha256"][:12],
        }
        for row in rows
    ]
    reasons = [f"{r['network']} seed {r['seed']}: {r['reason']}" for r in rows if r["reason"]]
    return paragraphs(table(columns), reasons)
