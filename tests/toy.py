"""A suite small enough for tests: a few real digits, tiny recipes, all that a suite can say."""

import json
from pathlib import Path
from typing import Any

from bench import api
from bench.api import Machine
from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.results import Results

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
    return api.make_plan(write(folder, **lines))


def run(whole: Plan, folder: Path, **how: Any) -> Results:
    """Carry a plan out in this process and return the folder's results."""
    results = Results(folder / "results")
    api.carry_out(whole, results, Machine(gpus=(), inline=True), **how)
    return results


def record(run: str = "a", **details: Any) -> dict[str, Any]:
    """The record of a student that is done, without a number, but for these details."""
    of = {"network": "resnet8", "teacher": "t", "seed": 0}
    return {**Task(run, "a student", of).record("done", None), **details}


def numbers(record: Any) -> str:
    """All that a record says of the training itself: no times, no memory, no machine."""
    timed = {"seconds", "shared_seconds", "images_per_second", "peak_memory"}
    curves = [{k: v for k, v in entry.items() if k not in timed} for entry in record["curves"]]
    return json.dumps([record["status"], record["metrics"], curves, record["weights"]])
