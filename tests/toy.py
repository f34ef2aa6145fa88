"""A suite small enough for tests: a few images of digits, short recipes, every key of a suite."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.api import Machine
from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.results import Record, Results
from bench.spec import RunSpec
from bench.training import loop
from bench.training.trainer import Trainer

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
MEASURED = {"seconds", "shared_seconds", "images_per_second", "peak_memory"}  # of an epoch


def write(folder: Path, text: str = SUITE, **lines: str) -> Path:
    """Write the toy suite, with some of its top-level lines replaced: `seeds="[0, 1]"`."""
    unchanged = [line for line in text.splitlines() if line.split(":")[0] not in lines]
    if "pairs" in lines:
        unchanged = [line for line in unchanged if not line.startswith("  - ")]
    replaced = [f"{key}: {value}" for key, value in lines.items() if value]
    path = folder / "toy.yaml"
    path.write_text("\n".join([*unchanged, *replaced]) + "\n")
    return path


def plan(folder: Path, **lines: str) -> Plan:
    """Return the plan of the toy suite."""
    return api.load_plan(write(folder, **lines))


def run(plan: Plan, folder: Path, **options: Any) -> Results:
    """Execute a plan in this process; return the results folder."""
    results = Results(folder / "results")
    api.execute(plan, results, Machine(gpus=(), inline=True), **options)
    return results


def outcome(plan: Plan, folder: Path) -> dict[str, str]:
    """Execute a plan; return the numbers of each method."""
    results = run(plan, folder)
    return {cell.method.name: numbers(results.record(cell.run)) for cell in plan.cells}


class PowerCut(Exception):
    """Ends a cohort in the middle."""


def run_interrupted(plan: Plan, folder: Path, stop_after: int) -> None:
    """Execute a plan; end the students' cohort after so many epochs of single runs.

    The teacher of a toy suite trains for one epoch, which is not counted.
    """
    train_cohort, epochs = loop.train_cohort, []

    def interrupt(trainers, teacher, data, after_epoch, *others):  # type: ignore[no-untyped-def]
        def stop(trainer: Trainer) -> None:
            after_epoch(trainer)
            epochs.append(trainer.epoch)
            if teacher is not None and len(epochs) == stop_after + 1:
                raise PowerCut

        train_cohort(trainers, teacher, data, stop, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_cohort", interrupt)
        with pytest.raises(PowerCut):
            run(plan, folder)


def record(run: str = "a", **fields: Any) -> Record:
    """Return the record of a finished student without metrics, with some fields replaced."""
    spec = RunSpec(network="resnet8", teacher="t", seed=0)
    return changed(Task(run, "a student", spec).record("done", None), **fields)


def changed(record: Record | None, **fields: Any) -> Record:
    """Return a copy of a record with some fields replaced."""
    assert record is not None
    return Record.model_validate({**record.content, **fields})


def numbers(record: Record | None) -> str:
    """Return all that training determines in a record: without times, memory, and machine."""
    assert record is not None
    curves = [epoch.model_dump(exclude=MEASURED, exclude_unset=True) for epoch in record.curves]
    return json.dumps([record.status, record.metrics, curves, record.weights])
