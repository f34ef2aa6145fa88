"""The executors of clusters, each on an engine that really runs on this machine."""

import shutil

from bench.planning.plan import Plan
from bench.results import Results


def taught(whole: Plan, one: Results, other: Results) -> None:
    """Give a results folder the teachers of another one."""
    for run in whole.runs.values():
        if run.kind == "teacher":
            other.write(one.record(run.id) or {})
            other.weights(run.id).parent.mkdir(exist_ok=True)
            shutil.copy(one.weights(run.id), other.weights(run.id))
