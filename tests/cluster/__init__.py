"""The executors of clusters, on clusters that run on this machine."""

import shutil

from bench.planning.plan import Plan
from bench.results import Results


def copy_teachers(plan: Plan, source: Results, target: Results) -> None:
    """Copy the records and weights of a plan's teachers to another results folder."""
    for record in source.records():
        if record.kind == "teacher" and record.id in plan.runs:
            target.write(record)
            target.weights(record.id).parent.mkdir(exist_ok=True)
            shutil.copy(source.weights(record.id), target.weights(record.id))
