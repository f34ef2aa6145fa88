"""What a plan costs, and which of its runs cannot be done, found before the first batch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

import distillers
from bench import data, models, seeding
from bench.data import Facts
from bench.errors import BenchError
from bench.models import Cost
from bench.plan import Plan, Run
from distillers import Incompatible, Setting, Shapes


@dataclass(frozen=True)
class Forecast:
    """Of one run: why it is impossible, or what it takes."""

    obstacle: str | None
    network: Cost | None = None
    memory: int = 0  # bytes of the buffers of its objective: memory banks and the like
    doubt: str | None = None  # what a plugin's code raised: the run will hardly succeed

    def work(self, run: Run, images: int) -> float:
        """Multiply-adds of the whole training: a backward pass counts as two forward ones."""
        epochs = run.specification["recipe"].get("epochs", 0)
        return 3.0 * epochs * images * self.network.multiply_adds if self.network else 0.0


def forecast(plan: Plan, root: Path | None = None) -> dict[str, Forecast]:
    """For each run of the plan, by id, what it takes or what stands in its way."""
    facts = data.facts(plan.suite.data, root)
    networks = {run.id: run.specification["network"] for run in plan.runs.values()}
    made: dict[tuple[str, str, str], Forecast] = {}  # seeds and recipes take the same
    found: dict[str, Forecast] = {}
    for run in plan.runs.values():
        terms = run.specification.get("method", {})
        alike = networks[run.id], networks[run.teacher or run.id], repr(terms)
        if alike not in made:
            made[alike] = _forecast(*alike[:2], terms, facts)
        found[run.id] = made[alike]
    return found


def _forecast(network: str, teacher: str, terms: Mapping[str, Any], facts: Facts) -> Forecast:
    try:
        student, cost = _network(network, facts.classes, facts.size)
        other, _ = _network(teacher, facts.classes, facts.size)
        held = [
            _term(name, json.dumps(term["options"], sort_keys=True), student, other, facts)
            for name, term in terms.items()
        ]
    except (BenchError, Incompatible) as error:
        return Forecast(str(error))
    except Exception as error:  # a plugin may raise anything; the run will tell, as `failed`
        return Forecast(None, doubt=f"{type(error).__name__}: {error}")
    return Forecast(None, cost, sum(held))


@cache
def _network(name: str, classes: int, size: int) -> tuple[Shapes, Cost]:
    with seeding.initialised_by("forecast"):
        net = models.build(name, classes, size)
    return models.shapes(net, size), models.cost(net, size)


@cache
def _term(name: str, options: str, student: Shapes, teacher: Shapes, facts: Facts) -> int:
    """Bytes of the buffers of a distiller; raises what its construction raises."""
    labels = torch.arange(facts.train) % facts.classes
    setting = Setting(student, teacher, labels, torch.Generator())
    chosen: Mapping[str, object] = json.loads(options)
    with seeding.initialised_by("forecast"):
        made = distillers.load(name)(setting, **chosen)
    return sum(buffer.numel() * buffer.element_size() for buffer in made.buffers())
