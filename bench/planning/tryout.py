"""Try every network and distiller of a plan on random numbers, before the first training."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from bench import models, seeding
from bench.errors import BenchError
from bench.models import dry_run
from bench.planning.estimate import build_for_estimate, network_of, one_thread, shapes_of
from bench.planning.plan import Cell, Plan
from bench.spec import Role, TermSpec
from distillers import Batch, Distiller, Incompatible, Setting, Shapes, contract
from distillers.base import FeatureName, reads_of_teacher, require, require_labels

SAMPLES = 8  # number of samples in the random batch


@dataclass(frozen=True)
class Tryout:
    """The result of trying one network, or one distiller of one method.

    Attributes:
        where: The place in the suite: `pairs.0.student`, or `methods.mine.my_distiller`.
        problems: Errors of the network's or distiller's code; violated rules of `distillers.base`.
        warnings: Reasons why the distiller may be slow.
    """

    where: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@one_thread()
def try_networks(plan: Plan) -> list[Tryout]:
    """Build each network of a plan; train networks of plugins and libraries on a random batch.

    Args:
        plan: The plan; no data are read.

    Returns:
        A tryout for each network with a problem.
    """
    tried: set[str] = set()
    tryouts = []
    for index, pair in enumerate(plan.suite.pairs):
        for role, name in (("teacher", pair.teacher.network), ("student", pair.student)):
            if name not in tried:
                tried.add(name)
                problems = tuple(_network_problems(plan, name))
                tryouts.append(Tryout(f"pairs.{index}.{role}", problems, ()))
    return [tryout for tryout in tryouts if tryout.problems]


def _network_problems(plan: Plan, name: str) -> Iterator[str]:
    """Yield the first problem of a network: it cannot be built, measured or trained."""
    registry, network = plan.suite.registry, network_of(plan.suite, name)
    is_student = any(pair.student == name for pair in plan.suite.pairs)
    facts = plan.facts_of("student" if is_student else "teacher")
    try:
        shapes_of(network, facts, registry)
        if name not in models.names():
            arguments = name, facts.classes, facts.size, network.stages
            net = build_for_estimate(partial(registry.build_network, *arguments))
            yield from _training_problems(net, facts.classes, facts.size)
    except BenchError as error:
        yield str(error)
    except (Exception, SystemExit) as error:
        yield registry.describe_error(error)


def _training_problems(net: nn.Module, classes: int, size: int) -> Iterator[str]:
    """Yield the reasons why a network cannot be trained, found in two steps in training mode."""
    if any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())):
        return  # too large for a tryout
    if not any(parameter.requires_grad for parameter in net.parameters()):
        yield "no parameter of the network requires a gradient, so it cannot be trained"
        return
    with seeding.initialised_by("trial"):
        state = contract.foreign_random_state()
        for _ in range(2):  # step 2 fails if a buffer still refers to the graph of step 1
            logits = net.train()(torch.randn(dry_run.BATCH, 3, size, size)).logits
            if logits.shape != (dry_run.BATCH, classes):
                yield f"in training mode, the logits have the shape {tuple(logits.shape)}"
                return
            if not bool(logits.isfinite().all()):
                yield "in training mode, the logits of random images are not finite"
                return
            logits.float().logsumexp(1).sum().backward()
        if state != contract.foreign_random_state():
            yield f"the network draws random numbers from {contract.FOREIGN}; use torch's generator"


@one_thread()
def try_distillers(plan: Plan) -> list[Tryout]:
    """Call every distiller of a plan, on random features with the shapes of its two networks.

    Args:
        plan: The plan; no images are read.

    Returns:
        A tryout for each distiller with a problem or a warning.
    """
    tried: set[str] = set()
    tryouts = []
    for cell in plan.cells:
        for name, term in cell.method.terms_of(cell.pair).items():
            shapes = _shapes(plan, cell, name)
            key = json.dumps([repr(shapes), name, term.options], sort_keys=True)
            if shapes and key not in tried:
                tried.add(key)
                where = f"methods.{cell.method.name}.{name}"
                tryouts.append(_try(plan, where, name, term, shapes))
    return [tryout for tryout in tryouts if tryout.problems or tryout.warnings]


def _shapes(plan: Plan, cell: Cell, distiller: str) -> tuple[Shapes, Shapes] | None:
    """Return the shapes of student and teacher; None if a network cannot be built."""
    suite, registry = plan.suite, plan.suite.registry
    cls = registry.distiller(distiller)
    networks: list[tuple[Role, str, Sequence[FeatureName]]] = [
        ("student", cell.pair.student, cls.reads),
        ("teacher", cell.pair.teacher.network, reads_of_teacher(cls)),
    ]
    try:
        student, teacher = (
            shapes_of(network_of(suite, name), plan.facts_of(role), registry, reads)
            for role, name, reads in networks
        )
    except (Exception, SystemExit):  # `try_networks` reports this error
        return None
    return student, teacher


def _try(
    plan: Plan, where: str, name: str, term: TermSpec, shapes: tuple[Shapes, Shapes]
) -> Tryout:
    registry, labels = plan.suite.registry, plan.facts.train_labels()
    batch = Batch(labels[:SAMPLES], torch.arange(min(SAMPLES, plan.facts.train)))
    problems: list[str] = []
    warnings: list[str] = []

    def build() -> Distiller:
        setting = Setting(*shapes, labels, torch.Generator().manual_seed(0))
        with seeding.initialised_by("trial"):
            return registry.distiller(name)(setting, **term.options)

    try:
        require(registry.distiller(name), *shapes)
        if plan.facts.labels != "all":
            require_labels(registry.distiller(name), term.options)
        built = build_for_estimate(build)
        if not any(tensor.is_meta for tensor in (*built.parameters(), *built.buffers())):
            problems += contract.violations(build, *shapes, batch)
        if registry.source_of("distiller", name) and not problems:
            warnings += _waits(plan, build, shapes, batch)
    except Incompatible:  # `bench plan` lists these runs as skipped, with this reason
        pass
    except (Exception, SystemExit) as error:
        problems.append(registry.describe_error(error, registry.distiller(name)))
    return Tryout(where, tuple(problems), tuple(warnings))


def _waits(
    plan: Plan, build: contract.Build, shapes: tuple[Shapes, Shapes], batch: Batch
) -> Iterator[str]:
    try:
        contract.waits_for_device(build, *shapes, batch)
    except Exception as error:
        reason = plan.suite.registry.describe_error(error)
        yield f"forward may wait for the device in each batch, which makes training slow: {reason}"
