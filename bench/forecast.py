"""Forecast the time, memory and disk space that the runs of a plan need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch

from bench.planning.cohorts import Cohort, cohorts
from bench.planning.estimate import Estimate, Network, shapes_of
from bench.planning.plan import Plan, Run
from bench.rates import (
    Rates,
    busy_cores,
    measure_rates,
    measure_start,
    planned_key,
    recorded_rates,
)
from bench.results import Results
from bench.results.environment import device_name
from bench.training.kept import kept_bytes, key_of_outputs

START_S = 8.0  # assumed seconds from a worker's start to its first batch, if not measured
RECORD_BYTES, EPOCH_BYTES = 4_000, 450  # sizes: a record without curves; one epoch
FLOAT_BYTES = 4


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
        used = rates.keys() & {planned_key(plan, run) for run in runs}
        source = f"from {len(used)} kinds of runs recorded on {name}"
    seconds, unknown = _seconds(plan, runs, estimates, rates, len(slots), start)
    size = partial(_parameters, estimates=estimates)
    groups = cohorts(networks)
    cohort_bytes = [_cohort_bytes(cohort, estimates) for cohort in groups]
    disk = RECORD_BYTES * len(runs) + sum(
        FLOAT_BYTES * size(run) + EPOCH_BYTES * estimates[run.id].epochs(run) for run in networks
    )
    kept = _kept_bytes(plan, groups, device)
    return Forecast(seconds, source, unknown, max(cohort_bytes, default=0), disk, kept)


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
        and (key := planned_key(plan, run)) in rates
        and (work := estimates[run.id].work(run, 1) / max(1, estimates[run.id].epochs(run)))
    ]
    familiar = sum(planned_key(plan, run) in rates for run in runs)
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
            (r.shared for run in cohort.runs if (r := rates.get(planned_key(plan, run)))),
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
    rate = rates.get(planned_key(plan, run))
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
        key = key_of_outputs(spec, cohort.teacher, device, spec.teacher_stages or ())
        size = kept_bytes(plan.facts.train, epochs, members)
        sizes[key] = max(size, sizes.get(key, 0))
    return sum(sizes.values())


def _copies(run: Run) -> int:
    """Return how many numbers a parameter needs: weight, gradient, optimiser's state, average."""
    recipe = run.specification.recipe
    return 2 + (1 if recipe.optimizer == "sgd" else 2) + (recipe.ema > 0)
