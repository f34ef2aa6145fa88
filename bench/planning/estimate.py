"""Estimate the cost of the runs of a plan, and find impossible runs, before any training."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, cast, get_args

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bench import models, seeding
from bench.data import Facts
from bench.errors import BenchError
from bench.models import Cost
from bench.planning.measure_work import measure_work
from bench.planning.plan import STAGE_FIELDS, Plan, Run
from bench.plugins import Registry
from bench.suite import Suite
from distillers import Distiller, Incompatible, Setting, Shapes
from distillers.base import (
    FeatureName,
    Pretraining,
    has_head,
    reads_of_teacher,
    require,
    require_labels,
    require_one_teacher,
    stage_of,
)

MAX_ELEMENTS = 50_000_000  # total up to which the tensors of a network or distiller get memory
SMALL_ELEMENTS = 10_000  # tensors up to this size always get memory: constructors may read them
RANDOM = (torch.rand, torch.randn)
FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, *RANDOM)


class Network(NamedTuple):
    """A network's name, and the names of the layers whose outputs are its stages.

    `stages` is () if the suite does not declare the stages.
    """

    name: str
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """The cost of one run, or the reason why it is impossible.

    Attributes:
        error: why the run is impossible and will be skipped; None if the run is possible.
        network: the cost of the run's network; None if the cost is unknown.
        memory: bytes of the buffers of the run's distillers, such as memory banks.
        warning: an exception from a plugin's code; the run will start, but will probably fail.
        views: views of each image that the networks see: 2 if a distiller reads the strong view.
        stage: the stage before training; None if no distiller has one.
        measured: multiply-adds of a measure, divided by the number of the suite's training images.

    """

    error: str | None
    network: Cost | None = None
    memory: int = 0
    warning: str | None = None
    views: int = 1
    stage: Pretraining | None = None
    measured: float = 0.0

    def epochs(self, run: Run) -> int:
        """Return the number of epochs of the run, with those of the stage before training."""
        return run.specification.epochs + (self.stage.epochs if self.stage else 0)

    def passes(self, run: Run) -> int:
        """Return how often the run's teacher sees an image or its strong view in all epochs."""
        before = self.stage.epochs if self.stage else 0
        return run.specification.epochs * self.views + before

    def work(self, run: Run, images: int) -> float:
        """Return the multiply-adds of the run's network in all epochs; 0 if the cost is unknown.

        A backward pass counts as two forward passes. A stage in which the student does not learn
        skips its passes. For a measure, see `bench.planning.measure_work`.

        Args:
            run: the run that was estimated.
            images: number of the suite's training images.

        """
        if run.specification.subject:
            return self.measured * images
        skipped = self.stage.epochs if self.stage and not self.stage.student else 0
        passes = 3.0 * (self.passes(run) - skipped)
        return passes * images * self.network.multiply_adds if self.network else 0.0


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: passes of two images are short, so threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def estimate(plan: Plan) -> dict[str, Estimate]:
    """Estimate the cost of every run of a plan, without reading images or training.

    Args:
        plan: the plan; the plugins of its suite are loaded.

    Returns:
        The estimates, by run id.

    """
    registry = plan.suite.registry
    estimates: dict[str, Estimate] = {}
    for run in plan.runs.values():  # the estimate does not depend on the seed
        spec = run.specification
        if spec.subject:
            estimates[run.id] = _estimate_measure(run, estimates, plan)
            continue
        teacher = plan.runs[run.teacher or run.id].specification
        pair = (
            Network(spec.network, tuple(spec.stages or ())),
            Network(teacher.network, tuple(spec.teacher_stages or ())),
        )
        options = json.dumps({name: term.options for name, term in spec.method.items()})
        mixed, members = spec.recipe.mixes, max(1, len(teacher.members))
        facts = plan.facts_of(spec.role), plan.facts_of(teacher.role)
        estimate = _estimate(*pair, options, facts, registry, mixed=mixed, members=members)
        if run.teacher and any(has_head(registry.distiller(name)) for name in teacher.method):
            estimate = Estimate("its teacher predicts with a head, so it cannot teach")
        keys = spec.recipe.layer_decay, spec.recipe.drop_path
        if not run.checkpoint and (problem := _untrainable(pair[0], keys, facts[0], registry)):
            estimate = replace(estimate, error=estimate.error or problem)
        estimates[run.id] = estimate
    return estimates


def _estimate_measure(run: Run, estimates: Mapping[str, Estimate], plan: Plan) -> Estimate:
    """Return the estimate of a probe; it is impossible if a network that it needs is impossible."""
    spec, facts = run.specification, run.facts or plan.facts
    for id in spec.needs:
        if error := estimates[id].error:
            return Estimate(f"{plan.names()[id]} is impossible: {error}")
    network = Network(spec.network, tuple(spec.stages or ()))
    registry = plan.suite.registry
    try:
        shapes, cost, _ = _measure(network, spec.measure["classes"], facts.size, registry)
        work = measure_work(spec, facts, shapes, cost.multiply_adds)
        return Estimate(None, cost, measured=work / plan.facts.train)
    except BenchError as error:
        return Estimate(str(error))
    except (Exception, SystemExit) as error:  # a plugin's error; its run will fail
        return Estimate(None, warning=registry.describe_error(error))


@cache
def _untrainable(
    network: Network, keys: tuple[float, float], facts: Facts, registry: Registry
) -> str | None:
    """Return why a network does not fit the recipe's `layer_decay` and `drop_path`, or None."""
    layer_decay, drop_path = keys
    if keys == (1.0, 0.0):
        return None
    size = facts.classes, facts.size
    arguments = network.name, *size, network.stages, drop_path
    try:
        net = build_for_estimate(partial(registry.build_network, *arguments))
        if layer_decay != 1:
            models.layer_groups(net, layer_decay, 0.0)
    except BenchError as error:
        return str(error)
    return None


@cache
def _estimate(
    network: Network,
    teacher: Network,
    options: str,
    all_facts: tuple[Facts, Facts],
    registry: Registry,
    *,
    mixed: bool,
    members: int,
) -> Estimate:
    """Return the estimate of a run.

    `options` is JSON with each distiller's options, by name. `all_facts` has the facts of the run's
    images and of its teacher's. `mixed` says whether the recipe mixes images, `members` is the
    number of teachers in an ensemble.
    """
    facts, teacher_facts = all_facts
    try:
        cost = _measure(network, facts.classes, facts.size, registry).cost
        memory, views, stage = 0, 1, None
        for name, values in json.loads(options).items():
            distiller = registry.distiller(name)
            student = shapes_of(network, facts, registry, distiller.reads)
            taught = shapes_of(teacher, teacher_facts, registry, reads_of_teacher(distiller))
            require(distiller, student, taught, mixed=mixed)
            _require_rgb(name, distiller, facts)
            if facts.labels != "all":
                require_labels(distiller, values)
            term = _build_term(distiller, json.dumps(values), (student, taught), facts)
            views, stage = 2 if "strong" in distiller.reads else views, stage_of(term) or stage
            used = members if distiller.uses_teacher else 1
            require_one_teacher(cast(Distiller, term), used)
            memory += used * sum(x.numel() * x.element_size() for x in term.buffers())
            if has_head(distiller):
                net = _network(network, facts.classes, facts.size, registry)
                cost = models.cost(models.headed(net, term, facts.size), facts.size)
    except Incompatible as error:
        names = json.loads(options)
        if any(STAGE_FIELDS & set(registry.distiller(name).reads) for name in names):
            return Estimate(f"{error}{_layers((network, teacher), facts, registry)}")
        return Estimate(str(error))
    except BenchError as error:
        return Estimate(str(error))
    except (Exception, SystemExit) as error:  # a plugin's error; its run will fail
        return Estimate(None, warning=registry.describe_error(error))
    return Estimate(None, cost, memory, views=views, stage=stage)


def _require_rgb(name: str, distiller: type[Distiller], facts: Facts) -> None:
    """Raise Incompatible if a distiller's strong view, which RandAugment makes, is impossible."""
    if "strong" in distiller.reads and (problem := facts.not_rgb):
        raise Incompatible(f"RandAugment makes the strong view of {name}; it needs {problem}")


class Measured(NamedTuple):
    """The shapes of a network's features, its cost, and the layers whose outputs are its stages.

    `layers` is None if the network itself returns its stages.
    """

    shapes: Shapes
    cost: Cost
    layers: tuple[str, ...] | None


@cache
def _measure(network: Network, classes: int, size: int, registry: Registry) -> Measured:
    net = _network(network, classes, size, registry)
    shapes, layers = models.shapes(net, size), models.stage_layers(net, size)
    if shapes.logits != classes:
        raise BenchError(
            f"the network '{network.name}' returns {shapes.logits} logits; the data set has "
            f"{classes} classes, which its builder receives"
        )
    return Measured(shapes, models.cost(net, size), layers)


@lru_cache(maxsize=2)  # a pair: each network is measured up to three times in a row
def _network(network: Network, classes: int, size: int, registry: Registry) -> nn.Module:
    name, stages = network
    return build_for_estimate(partial(registry.build_network, name, classes, size, stages))


def shapes_of(
    network: Network, facts: Facts, registry: Registry, reads: Iterable[FeatureName] = ()
) -> Shapes:
    """Return the shapes of a network's features for the images of a data set.

    Args:
        network: The network.
        facts: The facts of the data set.
        registry: The networks of the suite.
        reads: Fields of `Features` that are used; if one of them is optional, the shapes contain
            all optional fields, so that each network is measured once.
    """
    size = facts.classes, facts.size
    if not models.TAPPED.intersection(reads):
        return _measure(network, *size, registry).shapes
    return _all_shapes(network, *size, registry)


@cache
def _all_shapes(network: Network, classes: int, size: int, registry: Registry) -> Shapes:
    return models.shapes(_network(network, classes, size, registry), size, get_args(FeatureName))


def network_of(suite: Suite, name: str) -> Network:
    """Return a network of a suite, with the stages that the suite declares."""
    return Network(name, suite.stages.get(name, ()))


def stages_of(suite: Suite, facts: Facts) -> dict[str, str]:
    """Describe the stages of a suite's networks, as text for the user.

    Args:
        suite: The suite.
        facts: The facts of the suite's data set.

    Returns:
        The layer and the shape (C x H x W) of each stage, such as `layer1 64x8x8, layer2 128x4x4`,
        by the network's name.
    """
    names = [n for pair in suite.pairs for n in (pair.teacher.network, pair.student)]
    networks = [network_of(suite, name) for name in dict.fromkeys(names)]
    return {network.name: _stages(network, facts, suite.registry) for network in networks}


def _stages(network: Network, facts: Facts, registry: Registry) -> str:
    try:
        measured = _measure(network, facts.classes, facts.size, registry)
    except BenchError as error:
        return str(error)
    except Exception as error:  # a plugin may raise anything
        return registry.describe_error(error)
    shapes = ["x".join(map(str, shape)) for shape in measured.shapes.stages]
    if measured.layers is None:
        return f"returned by the network: {', '.join(shapes)}"
    layers = zip(measured.layers, shapes, strict=True)
    return ", ".join(f"{layer} {shape}" for layer, shape in layers) or "no stages"


def _layers(networks: Sequence[Network], facts: Facts, registry: Registry) -> str:
    """Return text for an error: the stages of each network, and how to declare other stages.

    The text is empty if all networks return their stages themselves.
    """
    lines = [f"; stages of {n.name}: {_stages(n, facts, registry)}" for n in networks]
    hooked = [
        n for n in networks if _measure(n, facts.classes, facts.size, registry).layers is not None
    ]
    if not hooked:
        return ""
    advice = f"; `networks: {{{hooked[0].name}: {{stages: [layer, …]}}}}` declares other stages"
    return "".join(lines) + advice


@cache
def _build_term(
    distiller: type[Distiller], options: str, shapes: tuple[Shapes, Shapes], facts: Facts
) -> nn.Module:
    setting = Setting(*shapes, facts.train_labels(), torch.Generator())
    return build_for_estimate(partial(distiller, setting, **json.loads(options)), drawn=False)


def build_for_estimate(build: Callable[[], nn.Module], *, drawn: bool = True) -> nn.Module:
    """Return a new network or distiller; after `MAX_ELEMENTS` elements, tensors get no memory.

    If the constructor fails because of a tensor without memory, it is called again, and all tensors
    get memory.

    Args:
        build: the constructor, with its arguments.
        drawn: whether weights are drawn; if not, they have any values, which is faster.

    """
    with seeding.initialised_by("estimate"):
        try:
            with _LargeOnMeta(drawn=drawn) as mode:
                return build()
        except Exception:  # a constructor may raise anything when it reads a meta tensor
            if not mode.used_meta:
                raise
            return build()


class _LargeOnMeta(TorchFunctionMode):
    """Create tensors on the meta device (shapes without memory) after `MAX_ELEMENTS` elements.

    The context `torch.device("meta")` cannot replace this class, for three reasons. The context has
    no effect on code that names a device, such as the code of memory banks. Some constructors read
    a small tensor, which fails on the meta device. For all tensors on the meta device, torch would
    need 4 s to import its meta kernels.
    """

    def __init__(self, *, drawn: bool) -> None:
        super().__init__()
        self.drawn, self.elements, self.used_meta = drawn, 0, False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self.drawn and "tensor" in kwargs and func.__module__ == nn.init.__name__:
            return kwargs["tensor"]
        if func not in FACTORIES or "out" in kwargs:
            return func(*args, **kwargs)
        options = {key: value for key, value in kwargs.items() if key != "generator"}
        create = torch.empty if func in RANDOM else func  # torch.randn imports kernels, see above
        meta = create(*args, **options | {"device": "meta"})
        elements = meta.numel()
        is_needed = self.drawn or func not in RANDOM
        limit = MAX_ELEMENTS - self.elements if is_needed else 0
        if elements > max(SMALL_ELEMENTS, limit):
            self.used_meta = True
            return meta
        self.elements += elements
        return func(*args, **kwargs)
