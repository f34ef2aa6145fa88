"""What a plan costs, and which of its runs cannot be done, found before the first batch."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bench import data, models, seeding
from bench.data import Facts
from bench.errors import BenchError
from bench.models import Cost
from bench.planning.plan import Plan, Run
from bench.plugins import Registry
from distillers import Distiller, Incompatible, Setting, Shapes

MOST_NUMBERS = 50_000_000  # that a network or a distiller is built with, to tell what it takes
FEW_NUMBERS = 10_000  # a tensor's that are made all the same: constructors read such ones


@dataclass(frozen=True)
class Forecast:
    """Of one run: why it is impossible, or what it takes."""

    obstacle: str | None
    network: Cost | None = None
    memory: int = 0  # bytes of the buffers of its objective: memory banks and the like
    doubt: str | None = None  # what a plugin's code raised: the run will hardly succeed

    def work(self, run: Run, images: int) -> float:
        """Multiply-adds of the whole training: a backward pass counts as two forward ones."""
        epochs = run.specification.epochs
        return 3.0 * epochs * images * self.network.multiply_adds if self.network else 0.0


def forecast(plan: Plan, root: Path | None = None) -> dict[str, Forecast]:
    """For each run of the plan, by id, what it takes or what stands in its way."""
    registry = plan.suite.registry
    facts = data.facts(plan.suite.data, root, registry.datasets)
    networks = {run.id: run.specification.network for run in plan.runs.values()}
    made: dict[tuple[str, str, str], Forecast] = {}  # seeds and recipes take the same
    found: dict[str, Forecast] = {}
    for run in plan.runs.values():
        terms = run.specification.get("method", {})
        alike = networks[run.id], networks[run.teacher or run.id], repr(terms)
        if alike not in made:
            made[alike] = _forecast(*alike[:2], terms, facts, registry)
        found[run.id] = made[alike]
    return found


def _forecast(
    network: str, teacher: str, terms: Mapping[str, Any], facts: Facts, registry: Registry
) -> Forecast:
    try:
        student, cost = _network(network, facts.classes, facts.size, registry)
        other, _ = _network(teacher, facts.classes, facts.size, registry)
        held = [
            _term(
                registry.distiller(name),
                json.dumps(term["options"], sort_keys=True),
                student,
                other,
                facts,
            )
            for name, term in terms.items()
        ]
    except (BenchError, Incompatible) as error:
        return Forecast(str(error))
    except Exception as error:  # a plugin may raise anything; the run will tell, as `failed`
        return Forecast(None, doubt=f"{type(error).__name__}: {error}")
    return Forecast(None, cost, sum(held))


@cache
def _network(name: str, classes: int, size: int, registry: Registry) -> tuple[Shapes, Cost]:
    net = _sketched(partial(registry.build_network, name, classes, size))
    return models.shapes(net, size), models.cost(net, size)


@cache
def _term(
    kind: type[Distiller], options: str, student: Shapes, teacher: Shapes, facts: Facts
) -> int:
    """Bytes of the buffers of a distiller; raises what its construction raises."""
    labels = torch.arange(facts.train) % facts.classes
    setting = Setting(student, teacher, labels, torch.Generator())
    chosen: Mapping[str, object] = json.loads(options)
    made = _sketched(partial(kind, setting, **chosen))
    return sum(buffer.numel() * buffer.element_size() for buffer in made.buffers())


def _sketched(build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` returns, without numbers where they would be too many.

    Whole after all if it cannot be built so.
    """
    with seeding.initialised_by("forecast"):
        try:
            with _Sketch() as sketch:
                return build()
        except Exception:  # a constructor may raise anything where it finds no numbers
            if not sketch.hollow:
                raise
            return build()


class _Sketch(TorchFunctionMode):
    """New tensors have no numbers, and lie on the meta device, once there are too many."""

    _MAKERS: Mapping[Callable[..., Any], Callable[..., Any]] = {
        **{make: make for make in (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand)},
        torch.randn: torch.empty,  # on the meta device it imports for a third of a second
    }

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.hollow = 0, False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func not in self._MAKERS or "out" in given:
            return func(*args, **given)
        plain = {key: value for key, value in given.items() if key != "generator"}
        bare = self._MAKERS[func](*args, **plain | {"device": "meta"})
        if bare.numel() > FEW_NUMBERS and self.numbers + bare.numel() > MOST_NUMBERS:
            self.hollow = True
            return bare
        self.numbers += bare.numel()
        return func(*args, **given)
