"""Records as finished runs leave them, for reports and tracking; their numbers are drawn."""

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


def texts(whole: Plan) -> Iterator[tuple[str, str]]:
    """For each run of a plan its id, and the JSON of a record."""
    names, here = whole.names(), environment(torch.device("cpu"), "float32")
    taught = {"network": "any", "sha256": 64 * "0", "top1": 75.0}
    for turn, run in enumerate(whole.runs.values()):
        of, rng = run.specification, random.Random(turn)
        last = numbers(rng)
        record = Task(run.id, names[run.id], of).record(
            "done",
            None,
            network={"parameters": 1_000_000, "multiply_adds": 100_000_000},
            teacher={"id": run.teacher, **taught} if run.teacher else None,
            weights=64 * "0",
            metrics={"last": last, "oracle": {**last, "epoch": 200}},
            curves="the curves",
            environment=here,
            started=now(),
            finished=now(),
            seconds=rng.random(),
        )
        text = json.dumps({"format": FORMAT, **record}, indent=1)
        of_run = curves(turn % VARIANTS, of["recipe"]["epochs"], tuple(of["method"]))
        yield run.id, sealed(text.replace('"the curves"', of_run))


@cache
def curves(variant: int, epochs: int, terms: tuple[str, ...]) -> str:
    """The JSON of as many epochs of a learner's curves, each with a measurement."""
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
            "test": numbers(rng),
        }
        for epoch in range(1, epochs + 1)
    ]
    return json.dumps(entries, indent=1).replace("\n", "\n ")


def numbers(rng: random.Random) -> dict[str, float]:
    return {name: 100 * rng.random() for name in METRICS}
