"""A suite small enough for tests: a few real digits and tiny recipes."""

import json
from pathlib import Path
from typing import Any

from bench import api
from bench.api import Machine
from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.results import Record, Results
from bench.spec import RunSpec

SUITE = """\
suite_version: 1
title: Toy
caption: A toy for tests.
dataset: {name: digits, per_class: 8, test_per_class: 5}
recipe: {epochs: 2, batch_size: 16, lr: 0.05, milestones: [1], crop: 1, flip: false}
teachers: {recipe: {epochs: 1}}
seeds: [0]
pairs:
  - {teacher: resnet8, student: resnet8}
options: {crd: {negatives: 16, width: 8}, wcord: {negatives: 16, width: 8, rounds: 5}}
methods: [student, kd]
"""


def write(folder: Path, text: str = SUITE, **lines: str) -> Path:
    """The toy suite as a file, some of its top-level lines replaced: `seeds="[0, 1]"`."""
    kept = [line for line in text.splitlines() if line.split(":")[0] not in lines]
    if "pairs" in lines:
        kept = [line for line in kept if not line.startswith("  - ")]
    path = folder / "toy.yaml"
    path.write_text("\n".join([*kept, *(f"{k}: {v}" for k, v in lines.items() if v)]) + "\n")
    return path


def plan(folder: Path, **lines: str) -> Plan:
    """The plan of the toy suite."""
    return api.load_plan(write(folder, **lines))


def run(plan: Plan, folder: Path, **options: Any) -> Results:
    """Execute a plan in this process and return the folder's results."""
    results = Results(folder / "results")
    api.execute(plan, results, Machine(gpus=(), inline=True), **options)
    return results


def record(run: str = "a", **fields: Any) -> Record:
    """The record of a student that is done, without numbers, except for these fields."""
    spec = RunSpec(network="resnet8", teacher="t", seed=0)
    return changed(Task(run, "a student", spec).record("done", None), **fields)


def changed(record: Record, **fields: Any) -> Record:
    """The record with other values in some fields."""
    return Record.model_validate({**record.content, **fields})


def numbers(record: Record | None) -> str:
    """Everything in a record about the training itself: no times, no memory, no machine."""
    assert record is not None
    measured = {"seconds", "shared_seconds", "images_per_second", "peak_memory"}
    curves = [epoch.model_dump(exclude=measured) for epoch in record.curves]
    return json.dumps([record.status, record.metrics, curves, record.weights])
