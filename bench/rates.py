"""Speeds of runs: from records of the same kind of device, or from a short measurement."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from statistics import fmean, median
from typing import NamedTuple

import torch

from bench import seeding
from bench.data.random_images import RandomImages
from bench.errors import BenchError
from bench.execution.protocol import Task
from bench.planning.plan import Plan, Run
from bench.plugins import Registry
from bench.results import Results
from bench.results.record import Record
from bench.spec import RunSpec
from bench.training.cuda_graphs import Views
from bench.training.evaluation import EVALUATION_BATCH, predict
from bench.training.teacher import Teacher
from bench.training.trainer import Trainer
from distillers import Features
from distillers.base import reads_of_teacher

BUSY_SCRIPT = """
import torch
torch.set_num_threads(1)
layer = torch.nn.Conv2d(32, 32, 3, padding=1)
images = torch.randn(64, 32, 16, 16)
print("ready", flush=True)
while True:
    layer(images).sum().backward()
"""
IMPORTS_SCRIPT = """
import bench.execution.worker, torch
torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
"""
WARM_UP_STEPS, MEASURED_S, MIN_STEPS = 2, 0.5, 3  # ignored steps, least seconds, least steps
MAX_CURVES = 5  # for each kind of run, read the curves of at most 5 records: reading is slow


CohortKey = tuple[str, str | None, int]  # begin, the teacher's run, seed


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


def rate_key(spec: RunSpec, teacher: str | None) -> str:
    """Return what determines a run's speed (networks, data, method, recipe) as text.

    The time of a measure also depends on its settings and on the number of images. `teacher` is the
    teacher's network; None if the run has no teacher.
    """
    if spec.subject:
        measure = {key: x for key, x in spec.measure.items() if key not in ("mean", "std")}
        content = spec.network, spec.data.content, measure, spec.recipe.model_dump(mode="json")
        return json.dumps(content, sort_keys=True)
    method = {name: term.content for name, term in spec.method.items()}
    recipe = spec.recipe
    parts = [spec.network, teacher, spec.data.name, spec.data.size, method]
    settings = recipe.batch_size, recipe.precision, recipe.optimizer
    return json.dumps([*parts, *settings], sort_keys=True)


def planned_key(plan: Plan, run: Run) -> str:
    """Return the `rate_key` of a run of a plan."""
    teacher = plan.runs[run.teacher].specification.network if run.teacher else None
    return rate_key(run.specification, teacher)


def recorded_rates(results: Results, device: str) -> dict[str, Rates]:
    """Return the median speeds in the records from one kind of device, by `rate_key`."""
    rates: dict[str, list[Rates]] = defaultdict(list)
    spans: dict[CohortKey, _Span] = defaultdict(_Span)
    for summary in _valid_records(results):
        is_same = summary.environment.get("device") == device
        if not is_same or summary.status != "done" or not summary.seconds:
            continue
        spec = summary.specification
        span = spans[summary.started or "", spec.teacher, spec.seed]
        span.training += summary.seconds
        span.end = max(span.end, summary.finished or "")
        teacher = summary.teacher.network if summary.teacher else None
        group = rates[rate_key(spec, teacher)]
        if spec.subject:
            group.append(Rates(0.0, 0.0, setup=summary.seconds))
        elif len(group) < MAX_CURVES and (record := results.record(summary.id)):
            group += filter(None, [_rate(record)])
            shared = sum(epoch.shared_seconds for epoch in record.curves)
            span.shared = max(shared, span.shared or 0.0)
    overhead = _overhead(spans)
    return {
        key: Rates(
            overhead * median(r.training for r in group),
            overhead * median(r.shared for r in group),
            setup=fmean(r.setup for r in group),
        )
        for key, group in rates.items()
        if group
    }


def _valid_records(results: Results) -> Iterator[Record]:
    """Yield all records without curves; damaged ones, also of other suites, are left out."""
    with results.indexed():
        for run in results.runs():
            with suppress(BenchError):
                if record := results.summary(run):
                    yield record


@dataclass
class _Span:
    """The end of a cohort, the sum of the seconds of its runs, and the seconds that they share.

    The shared seconds are None if no curve of the cohort was read.
    """

    end: str = ""
    training: float = 0.0
    shared: float | None = None


def _overhead(spans: Mapping[CohortKey, _Span]) -> float:
    """Return the wall time divided by the time of training: evaluations and setup add time."""
    elapsed = training = 0.0
    for (begin, _, _), span in spans.items():
        if span.shared is not None and begin and span.end:
            times = datetime.fromisoformat(begin), datetime.fromisoformat(span.end)
            elapsed += (times[1] - times[0]).total_seconds()
            training += span.training + span.shared
    return max(1.0, elapsed / training) if training else 1.0


def measure_rates(plan: Plan, runs: Sequence[Run], device: torch.device) -> dict[str, Rates]:
    """Time some steps of each network and method on random images; return speeds by `rate_key`."""
    rates: dict[str, Rates] = {}
    teachers: dict[str, tuple[Teacher, float]] = {}
    registry = plan.suite.registry
    sets = {kind: RandomImages(plan.facts_of(kind), device) for kind in {run.kind for run in runs}}
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    for run in runs:
        key = planned_key(plan, run)
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
        subprocess.Popen([sys.executable, "-P", "-c", BUSY_SCRIPT], stdout=subprocess.PIPE)
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
    subprocess.run([sys.executable, "-P", "-c", IMPORTS_SCRIPT], check=True)
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
