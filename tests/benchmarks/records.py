"""Records of finished runs with random numbers, for reports and tracking."""

import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.results.environment import environment, now
from bench.results.record import FORMAT, sealed

VARIANTS = 8  # different curves of one method
METRICS = ("top1", "top5", "nll", "ece", "agreement", "kl")


def record_texts(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the id and a record's JSON for each run of a plan."""
    names, machine = plan.names(), environment(torch.device("cpu"), "float32")
    teacher = {"network": "any", "sha256": 64 * "0", "top1": 75.0}
    for turn, run in enumerate(plan.runs.values()):
        specification, rng = run.specification, random.Random(turn)
        last = random_metrics(rng)
        record = Task(run.id, names[run.id], specification).record(
            "done",
            None,
            network={"parameters": 1_000_000, "multiply_adds": 100_000_000},
            teacher={"id": run.teacher, **teacher} if run.teacher else None,
            weights=64 * "0",
            metrics={"last": last, "oracle": {**last, "epoch": 200}},
            environment=machine,
            started=now(),
            finished=now(),
            seconds=rng.random(),
        )
        text = json.dumps({"format": FORMAT, **record.content}, indent=1)
        epochs, terms = specification.recipe.epochs, tuple(specification.method)
        curves = curves_json(turn % VARIANTS, epochs, terms)
        yield run.id, sealed(text.replace('"curves": []', f'"curves": {curves}'))


@cache
def curves_json(variant: int, epochs: int, terms: tuple[str, ...]) -> str:
    """Return the JSON of a run's curves, with an evaluation each epoch."""
    rng = random.Random(variant)
    entries: list[dict[str, Any]] = [
        {
            "epoch": epoch,
            "lr": 0.05,
            "loss": rng.random(),
            "terms": {term: rng.random() for term in terms},
            "seconds": rng.random(),
            "shared_seconds": rng.random(),
            "images_per_second": rng.random(),
            "peak_memory": rng.randrange(10**10),
            "test": random_metrics(rng),
        }
        for epoch in range(1, epochs + 1)
    ]
    return json.dumps(entries, indent=1).replace("\n", "\n ")


def random_metrics(rng: random.Random) -> dict[str, float]:
    return {name: 100 * rng.random() for name in METRICS}
