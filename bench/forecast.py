"""Forecast the time, memory and disk space that the runs of a plan need.

Speeds come from records of earlier runs on the same kind of device, or from a short measurement.
"""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from statistics import fmean, median
from typing import NamedTuple

import torch

from bench import seeding
from bench.data.random_images import RandomImages
from bench.execution.protocol import Task
from bench.planning.cohorts import Cohort, cohorts
from bench.planning.estimate import Estimate, Network, shapes_of
from bench.planning.plan import Plan, Run
from bench.plugins import Registry
from bench.results import Results
from bench.results.environment import device_name
from bench.results.record import Record
from bench.spec import RunSpec
from bench.training.cuda_graphs import Views
from bench.training.evaluation import EVALUATION_BATCH, predict
from bench.training.kept import kept_bytes, key_of_outputs
from bench.training.teacher import Teacher
from bench.training.trainer import Trainer
from distillers import Features
from distillers.base import reads_of_teacher

BURN = """
import torch
torch.set_num_threads(1)
layer = torch.nn.Conv2d(32, 32, 3, padding=1)
images = torch.randn(64, 32, 16, 16)
print("ready", flush=True)
while True:
    layer(images).sum().backward()
"""
START = """
import bench.execution.worker, sklearn.datasets, torch
torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
"""
START_S = 8.0  # assumed seconds from a worker's start to its first batch, if not measured
WARM_UP_STEPS, MEASURED_S, MIN_STEPS = 2, 0.5, 3  # ignored steps, least seconds, least steps
MAX_CURVES = 5  # for each kind of run, read the curves of at most 5 records: reading is slow
RECORD_BYTES, EPOCH_BYTES = 4_000, 450  # sizes: a record without curves; one epoch
FLOAT_BYTES = 4


class Rates(NamedTuple):
    """The speed of runs with the same network, data, method and recipe (see `rate_key`).

    Attributes:
        training: Seconds per training image for the run's own work, a mean over all epochs, with
            those of the stage before training.
        shared: Seconds per training image for the work that all runs of a cohort share, such as the
            teacher's forward pass. A cohort is a group of runs that train together.
        evaluation: Seconds for one test image.
        setup: Seconds to build the network and its method; for a measure, all its seconds.
    """

    training: float
    shared: float
    evaluation: float = 0.0
    setup: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """The time, memory and disk space that the runs of a plan will need.

    Attributes:
        seconds: Wall time; None if the speed of no run is known.
        source: Where the speeds come from, as text for the user.
        unknown: Number of runs of unknown speed; their time is estimated from multiply-adds.
        memory: Bytes of the largest cohort (runs that train together): weights, gradients,
            optimisers' states and the distillers' memory banks, without activations.
        disk: Bytes of all weights and records.
        kept: Bytes of the teachers' outputs that `bench run --keep-teacher` also keeps.
    """

    seconds: float | None
    source: str
    unknown: int
    memory: int
    disk: int
    kept: int


def forecast(
    plan: Plan,
    runs: Sequence[Run],
    estimates: Mapping[str, Estimate],
    results: Results,
    slots: Sequence[str],
    *,
    measured: bool = False,
) -> Forecast:
    """Forecast the time, memory and disk space of the runs that are still to do.

    The time of a measure of a finished network is that of recorded measures with the same settings.
    Without such a record, it is estimated from multiply-adds, also with `measured`. Measures need
    less memory than training, so only their time and disk space are counted.

    Args:
        plan: The plan.
        runs: The runs to do, without runs whose estimate has an error.
        estimates: The estimated cost of each run, by id.
        results: Results folder; the speeds come from its records.
        slots: The device of each slot, such as `cuda:0`. A slot trains one cohort at a time.
        measured: Whether to time some steps of each network and method instead of using records.
    """
    device = torch.device(slots[0])
    name, start = device_name(device), START_S
    networks = [run for run in runs if not run.specification.subject]
    if measured:
        with busy_cores(len(slots) - 1 if device.type == "cpu" else 0):
            rates, start = measure_rates(plan, networks, device), measure_start()
        source = f"measured on {name}"
    else:
        rates = recorded_rates(results, name) if runs else {}
        source = f"from {len(rates)} kinds of runs recorded on {name}"
    seconds, unknown = _seconds(plan, runs, estimates, rates, len(slots), start)
    size = partial(_parameters, estimates=estimates)
    groups = cohorts(networks)
    cohort_bytes = [_cohort_bytes(cohort, estimates) for cohort in groups]
    disk = RECORD_BYTES * len(runs) + sum(
        FLOAT_BYTES * size(run) + EPOCH_BYTES * estimates[run.id].epochs(run) for run in networks
    )
    kept = _kept_bytes(plan, groups, device)
    return Forecast(seconds, source, unknown, max(cohort_bytes, default=0), disk, kept)


def rate_key(spec: RunSpec) -> str:
    """Return what determines a run's speed (network, data, method, recipe) as text.

    The time of a measure also depends on its settings and on the number of images.
    """
    if spec.subject:
        measure = {key: x for key, x in spec.measure.items() if key not in ("mean", "std")}
        content = spec.network, spec.data.content, measure, spec.recipe.model_dump(mode="json")
        return json.dumps(content, sort_keys=True)
    method = {name: term.content for name, term in spec.method.items()}
    recipe = spec.recipe
    parts = [spec.network, spec.data.name, spec.data.size, method]
    settings = recipe.batch_size, recipe.precision, recipe.optimizer
    return json.dumps([*parts, *settings], sort_keys=True)


def recorded_rates(results: Results, device: str) -> dict[str, Rates]:
    """Return the median speeds in the records from one kind of device, by `rate_key`."""
    rates: dict[str, list[Rates]] = defaultdict(list)
    begins: dict[str, set[str]] = defaultdict(set)  # begin of a cohort -> ends of its runs
    busy = 0.0
    for summary in results.records(curves=False):
        is_same = summary.environment.get("device") == device
        if not is_same or summary.status != "done" or not summary.seconds:
            continue
        busy += summary.seconds
        if summary.started and summary.finished:
            begins[summary.started].add(summary.finished)
        group = rates[rate_key(summary.specification)]
        if summary.specification.subject:
            group.append(Rates(0.0, 0.0, setup=summary.seconds))
        elif len(group) < MAX_CURVES and (record := results.record(summary.id)):
            group += filter(None, [_rate(record)])
    elapsed = sum(_elapsed(begin, max(ends)) for begin, ends in begins.items())
    overhead = max(1.0, elapsed / busy) if busy else 1.0  # evaluations and setup add time
    return {
        key: Rates(
            overhead * median(r.training for r in group),
            median(r.shared for r in group),
            setup=fmean(r.setup for r in group),
        )
        for key, group in rates.items()
        if group
    }


def _elapsed(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def measure_rates(plan: Plan, runs: Sequence[Run], device: torch.device) -> dict[str, Rates]:
    """Time some steps of each network and method on random images; return speeds by `rate_key`."""
    rates: dict[str, Rates] = {}
    teachers: dict[str, tuple[Teacher, float]] = {}
    registry = plan.suite.registry
    sets = {kind: RandomImages(plan.facts_of(kind), device) for kind in {run.kind for run in runs}}
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    for run in runs:
        key = rate_key(run.specification)
        if key in rates or not run.specification.epochs:
            continue
        spec, data = run.specification, sets[run.kind]
        images, batch = data.batch(spec.recipe.batch_size)
        distillers = [registry.distiller(name) for name in spec.method]
        is_strong = any("strong" in distiller.reads for distiller in distillers)
        strong = images.clone() if is_strong else None
        sample = Views(images, batch, strong, images, strong)
        teacher, shared = None, 0.0
        if run.teacher:
            taught_by = plan.runs[run.teacher].specification
            names = [taught_by.network] * max(1, len(taught_by.members))
            reads = sorted({name for d in distillers for name in reads_of_teacher(d)})
            kind = f"{names} {spec.teacher_stages} {len(images)} {spec.recipe.precision} {reads}"
            if kind not in teachers:
                teachers[kind] = _measure_teacher(names, spec, data, sample, registry)
            teacher, shared = teachers[kind]
        rates[key] = _measure(run, teacher, shared, data, sample, registry)
    return rates


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep `count` cores busy with convolutions inside the block, as the other workers will do.

    On an otherwise idle machine, the measured times would be too short: cores share caches.
    """
    burners = [
        subprocess.Popen([sys.executable, "-P", "-c", BURN], stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    try:
        for burner in burners:
            assert burner.stdout is not None
            burner.stdout.readline()  # waits until the process has imported torch
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.communicate()


def measure_start() -> float:
    """Return the seconds that a worker process takes for its imports, before it can train."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", START], check=True)
    return time.perf_counter() - start


def _measure_teacher(
    networks: Sequence[str], spec: RunSpec, data: RandomImages, sample: Views, registry: Registry
) -> tuple[Teacher, float]:
    """Return a teacher with random weights, and the seconds of its forward pass per image.

    `networks` has one name, or the names of an ensemble's members.
    """
    size = data.facts.classes, data.facts.size
    with seeding.initialised_by("forecast"):
        stages = spec.teacher_stages or ()
        nets = [registry.build_network(name, *size, stages) for name in networks]
    reads = {read for name in spec.method for read in reads_of_teacher(registry.distiller(name))}
    teacher, images = Teacher(nets, data, spec.recipe, reads), sample.taught
    seconds = _time(partial(teacher, images, sample.taught_strong, reads), images.device)
    return teacher, seconds / len(images)


def _measure(
    run: Run,
    teacher: Teacher | None,
    shared: float,
    data: RandomImages,
    sample: Views,
    registry: Registry,
) -> Rates:
    spec, device = run.specification, sample[0].device
    begin = time.perf_counter()
    shapes = teacher.shapes if teacher else []
    trainer = Trainer(Task(run.id, "", spec), data, shapes, None, registry)
    setup = time.perf_counter() - begin
    before, seconds = -trainer.epoch, 0.0  # epochs of the stage before training
    uses_teacher = teacher is not None and trainer.uses_teacher
    if before:
        seconds = before * _time_step(trainer, teacher, sample)
        trainer.epoch = -1
        trainer.end_epoch(shared_seconds=0.0)  # the training begins
        uses_teacher |= teacher is not None and trainer.uses_teacher
    seconds += spec.epochs * _time_step(trainer, teacher, sample)
    step = seconds / (before + spec.epochs)
    evaluate = partial(predict, trainer.model, data, "test", spec.recipe)
    evaluation = _time(evaluate, device) / min(EVALUATION_BATCH[device.type], data.facts.train)
    return Rates(step, shared if uses_teacher else 0.0, evaluation, setup)


def _time_step(trainer: Trainer, teacher: Teacher | None, sample: Views) -> float:
    """Return the seconds of a trainer's step per image."""
    images, batch, strong, *_ = sample
    strong = strong if "strong" in trainer.reads | trainer.teacher_reads else None
    features: Sequence[Features] = ()
    if teacher and trainer.uses_teacher:
        features = teacher(images, strong, trainer.teacher_reads)
    trainer.begin_epoch()
    step = partial(trainer.step, images, features, batch, strong)
    return _time(step, images.device) / len(images)


def _time(call: Callable[[], object], device: torch.device) -> float:
    """Call a function several times; return the median seconds of a call after a warm-up."""
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < WARM_UP_STEPS + MIN_STEPS or time.perf_counter() - begin < MEASURED_S:
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[WARM_UP_STEPS:])


def _rate(record: Record) -> Rates | None:
    """Return the speeds in a record; None for a loaded checkpoint, which did not train."""
    curves = [epoch for epoch in record.curves if epoch.images_per_second > 0]
    images = sum(epoch.images_per_second * epoch.seconds for epoch in curves)
    if not images:
        return None
    seconds, shared = sum(e.seconds for e in curves), sum(e.shared_seconds for e in curves)
    return Rates(seconds / images, shared / images)


def _seconds(
    plan: Plan,
    runs: Sequence[Run],
    estimates: Mapping[str, Estimate],
    rates: Mapping[str, Rates],
    slots: int,
    start: float,
) -> tuple[float | None, int]:
    """Return the wall time, and the number of runs whose speed is not in `rates`.

    The time is None if no speed is known.
    """
    if not runs:
        return 0.0, 0
    per_work = [
        rates[key].training / work
        for run in plan.runs.values()
        if not run.specification.subject
        and (key := rate_key(run.specification)) in rates
        and (work := estimates[run.id].work(run, 1) / max(1, estimates[run.id].epochs(run)))
    ]
    familiar = sum(rate_key(run.specification) in rates for run in runs)
    if not per_work and familiar < len(runs):
        return None, len(runs)
    typical = median(per_work) if per_work else 0.0  # seconds for a multiply-add
    run_seconds = {
        run.id: _run_seconds(run, plan, estimates[run.id], rates, typical) for run in runs
    }
    total, longest = 0.0, 0.0
    chains: dict[str, float] = {}  # seconds until a run ends, by its id
    for cohort in cohorts(runs):
        shared = max(
            (r.shared for run in cohort.runs if (r := rates.get(rate_key(run.specification)))),
            default=0.0,
        )
        epochs = max(estimates[run.id].epochs(run) for run in cohort.runs)
        alone = shared * plan.facts_of(cohort.runs[0].kind).train * epochs + start
        total += alone + sum(run_seconds[run.id] for run in cohort.runs)
        begin = max((chains.get(id, 0.0) for id in cohort.needs), default=0.0)
        end = begin + alone + max(run_seconds[run.id] for run in cohort.runs)
        chains |= {run.id: end for run in cohort.runs}
        longest = max(longest, end)
    return start + max(total / slots, longest), len(runs) - familiar


def _run_seconds(
    run: Run, plan: Plan, estimate: Estimate, rates: Mapping[str, Rates], typical: float
) -> float:
    """Return the seconds of a run's own work; `typical` is the seconds of a multiply-add."""
    rate = rates.get(rate_key(run.specification))
    if run.specification.subject:
        return rate.setup if rate else typical * estimate.work(run, plan.facts.train)
    facts, epochs = plan.facts_of(run.kind), estimate.epochs(run)
    rate = rate or Rates(typical * estimate.work(run, 1) / max(1, epochs), 0.0)
    training = rate.setup + rate.training * epochs * facts.train
    return training + rate.evaluation * _evaluations(run) * facts.test


def _evaluations(run: Run) -> int:
    return -(-run.specification.epochs // run.specification.recipe.evaluate_every)


def _parameters(run: Run, estimates: Mapping[str, Estimate]) -> int:
    cost = estimates[run.id].network
    return cost.parameters if cost else 0


def _cohort_bytes(cohort: Cohort, estimates: Mapping[str, Estimate]) -> int:
    """Return the bytes of a cohort's weights, gradients, optimisers' states and memory banks."""
    return sum(
        _copies(run) * FLOAT_BYTES * _parameters(run, estimates) + estimates[run.id].memory
        for run in cohort.runs
    )


def _kept_bytes(plan: Plan, groups: Sequence[Cohort], device: torch.device) -> int:
    """Return the bytes of the outputs of all teachers, for the epochs of their students."""
    sizes: dict[str, int] = {}
    for cohort in groups:
        if cohort.teacher is None:
            continue
        spec, teacher = cohort.runs[0].specification, plan.runs[cohort.teacher].specification
        network = Network(teacher.network, tuple(spec.teacher_stages or ()))
        shapes = shapes_of(network, plan.facts_of(teacher.role), plan.suite.registry)
        members = [(shapes.logits, shapes.pooled)] * max(1, len(teacher.members))
        epochs = max(run.specification.epochs for run in cohort.runs)
        key = key_of_outputs(spec, cohort.teacher, device)
        size = kept_bytes(plan.facts.train, epochs, members)
        sizes[key] = max(size, sizes.get(key, 0))
    return sum(sizes.values())


def _copies(run: Run) -> int:
    """Return how many numbers a parameter needs: weight, gradient, optimiser's state, average."""
    recipe = run.specification.recipe
    return 2 + (1 if recipe.optimizer == "sgd" else 2) + (recipe.ema > 0)
