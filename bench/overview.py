"""Describe plans and the states of their runs, for the commands `bench plan` and `bench status`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import Machine
from bench.config.text import count
from bench.errors import ConfigError
from bench.execution.runner import pending
from bench.lazy import torch
from bench.planning.cohorts import cohorts
from bench.planning.measures import missing_data
from bench.planning.plan import Plan, Run
from bench.report import experiment
from bench.results import Results
from bench.results.environment import device_name

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate


def describe_status(plan: Plan, results: Results, *, verify: bool = False) -> dict[str, Any]:
    """Return how many runs of a plan have a result, as data that JSON can hold.

    Args:
        plan: The plan.
        results: Results folder; only its records are read.
        verify: Whether to read and verify each record's file, without the folder's index.

    Returns:
        The number of runs in each state: of the suite, by pair and method, and by measure; the
        trials of each tuned method; and a list of all runs without a result.
    """
    with nullcontext() if verify else results.indexed():
        runs = _run_states(plan, results, {})
    return {
        "suite": plan.suite.name,
        "counts": Counter(run["state"] for run in runs),
        "trials": _searches(plan),
        "looks": looks(plan),
        "pairs": _pair_states(plan, runs),
        "measures": _measure_states(plan, runs),
        "without_result": [run for run in runs if run["state"] != "done"],
    }


def describe_plan(
    plan: Plan,
    results: Results,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    *,
    data_root: Path | None = None,
    measured: bool = False,
) -> dict[str, Any]:
    """Return the runs of a plan with their states and costs, as data that JSON can hold.

    Args:
        plan: The plan.
        results: Folder of the records.
        machine: The hardware that would train the runs.
        data_root: Folder of data sets; None: its default.
        measured: Whether to measure the speed of each network and method for some seconds.

    Returns:
        The state of each run, the number of runs in each state by pair and method, the trials of
        tuned methods and the forecast of the trials that can start, the devices, the
        size of each network, the memory of each method, the forecast of time, memory and disk
        space, the missing files that runs without a result need, and a warning if the precision
        is slower than float32. For a cluster, the forecast is None, and no precision is compared.

    Raises:
        BenchError: A device cannot be used.
        ConfigError: A checkpoint that the suite names cannot be used.
    """
    from bench.training.teacher import checkpoint_problems  # imports torch

    devices = machine.devices()
    if problems := checkpoint_problems(plan):
        raise ConfigError(problems)
    estimates = _estimates(_with_later(plan))
    with results.indexed():
        runs = _run_states(plan, results, estimates)
        possible = _possible(plan, results, estimates)
    place = "a cluster" if machine.cluster else None
    return {
        "suite": plan.suite.name,
        "ignored_files": plan.facts.ignored,
        "experiment": experiment.describe(plan.suite, plan.facts),
        "missing": _missing(plan, possible, data_root),
        "warnings": _warnings(plan, possible, estimates, machine),
        "trials": _searches(plan),
        "trials_to_do": _trials_to_do(plan, results, machine, measured),
        "looks": looks(plan),
        "at_most": _at_most(plan, estimates, results, machine, measured=measured),
        "runs": runs,
        "pairs": _pair_states(plan, runs),
        "measures": _measure_states(plan, runs),
        "cohorts": len(cohorts(possible)),
        "devices": [
            {"device": name, "name": place or device_name(torch.device(name)), "at_a_time": number}
            for name, number in Counter(devices).items()
        ],
        "networks": _costs(plan, estimates),
        "memory": _memory(plan, estimates),
        "forecast": _forecast(plan, possible, estimates, results, machine, measured=measured),
    }


def _estimates(plan: Plan) -> "dict[str, Estimate]":
    from bench.planning.estimate import estimate  # imports torch

    return estimate(plan)


def _warnings(
    plan: Plan, runs: Sequence[Run], estimates: "Mapping[str, Estimate]", machine: Machine
) -> list[str]:
    """Return a warning if the precision of the runs is slower than float32 on this machine."""
    from bench.precision import slow_precision  # imports torch

    if machine.cluster:
        return []
    return slow_precision(plan, runs, estimates, machine.devices()[0], machine.threads)


def _searches(plan: Plan) -> list[dict[str, Any]]:
    """Return the state of the trials of each tuned method."""
    return [
        {
            "method": each.method,
            "pair": each.pair,
            "trials": each.wanted,
            "ended": each.ended_trials,
            "chosen": each.chosen.values if each.chosen else None,
            "state": each.text,
        }
        for each in plan.searches
    ]


def _trials_to_do(
    plan: Plan, results: Results, machine: Machine, measured: bool
) -> dict[str, Any] | None:
    """Return the runs of trials that can start now: their number, and their forecast.

    `later` is the number of trials that are proposed only after other trials have ended. Returns
    None if no trial is open.
    """
    if plan.trials is None or all(each.ended for each in plan.searches):
        return None
    estimates = _estimates(plan.trials)
    possible = _possible(plan.trials, results, estimates)
    needs = _forecast(plan.trials, possible, estimates, results, machine, measured=measured)
    later = sum(each.wanted - len(each.trials) for each in plan.searches)
    return {"runs": len(possible), "later": later, "forecast": needs}


def looks(plan: Plan) -> list[str]:
    """Return a sentence on the seeds of each group, if verdicts decide about them; else []."""
    rule = plan.suite.settling
    if rule is None:
        return []
    lines = []
    for each in plan.looks:
        begin = f"{each.group}: " if each.group else ""
        methods: dict[str, list[str]] = {}
        for pair, method in each.open:
            methods.setdefault(pair, []).append(method)
        names = "; ".join(f"{', '.join(names)} on {pair}" for pair, names in methods.items())
        state = f"{begin}{count(each.complete, 'seed')} looked at"
        if each.open:
            following = max(rule.first, each.complete + 1)
            lines.append(
                f"{state}; the next look is at {following} seeds; undecided runs start only if a "
                f"look leaves their verdict open; open: {names}"
            )
        else:
            lines.append(f"{state}; no method needs more seeds")
    return lines


def _with_later(plan: Plan) -> Plan:
    """Return a plan together with the runs that looks may still add."""
    if plan.later is None:
        return plan
    runs, measures = {**plan.later.runs, **plan.runs}, {**plan.later.measures, **plan.measures}
    return replace(plan.later, runs=runs, measures=measures)


def _at_most(
    plan: Plan,
    estimates: "Mapping[str, Estimate]",
    results: Results,
    machine: Machine,
    *,
    measured: bool,
) -> dict[str, Any] | None:
    """Return number and forecast of the runs to do if no verdict settles; None: all are decided."""
    if plan.later is None:
        return None
    possible = _possible(plan.later, results, estimates)
    needs = _forecast(plan.later, possible, estimates, results, machine, measured=measured)
    return {"runs": len(possible), "forecast": needs}


def _possible(plan: Plan, results: Results, estimates: "Mapping[str, Estimate]") -> list[Run]:
    """Return the runs to do that are not impossible."""
    return [run for run in pending(plan, results, "failed") if estimates[run.id].error is None]


def _forecast(
    plan: Plan,
    runs: Sequence[Run],
    estimates: "Mapping[str, Estimate]",
    results: Results,
    machine: Machine,
    *,
    measured: bool,
) -> dict[str, Any] | None:
    """Return the time, memory and disk that runs will need; None for a cluster."""
    from bench.forecast import forecast

    if machine.cluster:
        return None
    devices = machine.devices()
    return asdict(forecast(plan, runs, estimates, results, devices, measured=measured))


def _missing(plan: Plan, runs: Sequence[Run], data_root: Path | None) -> list[str]:
    """Return a line for each missing file that the runs to do need: data sets and checkpoints."""
    return [
        *missing_data(plan, runs, data_root),
        *(
            f"{run.specification.network}: no file {run.checkpoint.path}, SHA-256 "
            f"{run.checkpoint.sha256}"
            for run in runs
            if run.checkpoint and not run.checkpoint.path.exists()
        ),
    ]


def _run_states(
    plan: Plan, results: Results, estimates: "Mapping[str, Estimate]"
) -> list[dict[str, str | None]]:
    """Return `id`, `name`, `kind`, `state` and `reason` of each run.

    The state of a run is the status of its record. Without a record, the state is `to do`. If the
    run has an estimate, and no record or a record with the status `skipped`, the estimate decides:
    the state is `skipped` if the run is impossible, otherwise `to do`. A run is `undecided` if
    looks decide whether it is needed.
    """
    rows = []
    extended = _with_later(plan)
    for id, run in extended.runs.items():
        record, estimate = results.summary(id), estimates.get(id)
        state, reason = (record.status, record.reason) if record else ("to do", None)
        if estimate and (record is None or record.status == "skipped"):
            state = "skipped" if estimate.error else "to do"
            reason = estimate.error or estimate.warning
        if id not in plan.runs:
            state, reason = "undecided", None
        names = {"id": id, "name": extended.names()[id], "kind": run.kind}
        rows.append({**names, "state": state, "reason": reason})
    return rows


def _pair_states(plan: Plan, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the number of runs in each state: for each pair, its teachers and its methods.

    For example `{"pair": "a/b", "teachers": {"done": 1}, "methods": {"kd": {"done": 2}}}`.
    """
    states = {run["id"]: run["state"] for run in runs}
    teachers: dict[str, dict[str, str]] = {}
    methods: dict[str, dict[str, Counter[str]]] = {}
    for cell in _with_later(plan).cells:
        teachers.setdefault(cell.pair.name, {})[cell.teacher] = states[cell.teacher]
        counts = methods.setdefault(cell.pair.name, {})
        counts.setdefault(cell.method.name, Counter())[states[cell.run]] += 1
    return [
        {"pair": pair, "teachers": Counter(teachers[pair].values()), "methods": counts}
        for pair, counts in methods.items()
    ]


def _measure_states(plan: Plan, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each measure of the plan, the number of its runs in each state."""
    states = {run["id"]: run["state"] for run in runs}
    counts: dict[str, Counter[str]] = {}
    for (_, name), run in _with_later(plan).measures.items():
        counts.setdefault(name, Counter())[states[run]] += 1
    return [{"measure": name, "states": numbers} for name, numbers in counts.items()]


def _costs(plan: Plan, estimates: "Mapping[str, Estimate]") -> list[dict[str, Any]]:
    """Return the numbers of parameters and multiply-adds of every network of the plan."""
    runs = plan.runs.values()
    costs = {run.specification.network: cost for run in runs if (cost := estimates[run.id].network)}
    return [{"network": name, **asdict(cost)} for name, cost in costs.items()]


def _memory(plan: Plan, estimates: "Mapping[str, Estimate]") -> list[dict[str, Any]]:
    """Return the bytes of each method's buffers, such as memory banks; the largest of all pairs.

    Methods without buffers are left out.
    """
    largest: Counter[str] = Counter()
    for cell in plan.cells:
        largest[cell.method.name] = max(largest[cell.method.name], estimates[cell.run].memory)
    return [{"method": name, "bytes": size} for name, size in largest.items() if size]
