"""What there is and how it stands, as plain data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import distillers
from bench import data, models, suite
from bench.data import Selection
from bench.errors import ConfigError, unknown
from bench.execution.runner import pending
from bench.planning import estimate
from bench.planning.estimate import Estimate
from bench.planning.plan import Plan, Run, cohorts
from bench.results import Results
from bench.results.environment import device_name

Content = Mapping[str, Any]


def plan(
    whole: Plan,
    results: Results,
    root: Path | None,
    devices: Sequence[str] = ("cpu",),
    place: str | None = None,
) -> dict[str, Any]:
    """Every run with its state, counts by pair and method, and what it takes on these devices.

    `place` is where they are, if not here.
    """
    estimates = estimate.estimate(whole, root)
    runs = _runs(whole, results, estimates)
    names = {device: place or _named(device) for device in devices}
    todo = [r for r in pending(whole, results, "failed") if estimates[r.id].error is None]
    return {
        "suite": whole.suite.name,
        "runs": runs,
        "pairs": _pairs(whole, runs),
        "cohorts": len(cohorts(todo)),
        "devices": [
            {"device": device, "name": names[device], "at_a_time": slots}
            for device, slots in Counter(devices).items()
        ],
        "networks": _costs(whole, estimates),
        "memory": _memory(whole, estimates),
    }


def _named(slot: str) -> str:
    """The name of a slot's device; its devices are of one kind."""
    return device_name(torch.device(slot))


def status(whole: Plan, results: Results) -> dict[str, Any]:
    """How many runs are in each state, by pair and method too, and all that have no result."""
    runs = _runs(whole, results, {})
    return {
        "suite": whole.suite.name,
        "counts": dict(Counter(run["state"] for run in runs)),
        "pairs": _pairs(whole, runs),
        "without_result": [run for run in runs if run["state"] != "done"],
    }


def teachers(whole: Plan, results: Results) -> list[dict[str, Any]]:
    """Each teacher of a suite: where it comes from, its state, accuracy, and weights."""
    rows = []
    for run in (run for run in whole.runs.values() if run.kind == "teacher"):
        record: Any = results.summary(run.id) or {}
        weights = results.weights(run.id)
        rows.append(
            {
                "network": run.specification.network,
                "seed": run.specification.seed,
                "from": str(run.checkpoint.path) if run.checkpoint else "training",
                "state": record.get("status", "to do"),
                "top1": record.get("metrics", {}).get("last", {}).get("top1"),
                "manifest": run.checkpoint.top1 if run.checkpoint else None,
                "weights": str(weights) if weights.exists() else None,
                "sha256": record.get("weights"),
                "reason": record.get("reason"),
            }
        )
    return rows


def listing(what: str) -> list[dict[str, Any]]:
    """What there is of `suites`, `methods`, `distillers`, `networks` or `datasets`."""
    kinds = {
        "suites": _suites,
        "methods": _methods,
        "distillers": _distillers,
        "networks": _networks,
        "datasets": _datasets,
    }
    if what not in kinds:
        raise ConfigError([f"bench list {what}: {unknown('list', what, kinds)}"])
    return kinds[what]()


def _suites() -> list[dict[str, Any]]:
    return [{"suite": path.stem, "file": str(path)} for path in suite.shipped()]


def _methods() -> list[dict[str, Any]]:
    return [
        {"method": name, "terms": _terms(method["terms"]), "source": method["source"]}
        for name, method in suite.canonical().items()
    ]


def _terms(terms: Mapping[str, Any]) -> str:
    weights = {
        name: term["weight"] if isinstance(term, Mapping) else term for name, term in terms.items()
    }
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items())


def _distillers() -> list[dict[str, Any]]:
    found = [(name, distillers.load(name)) for name in distillers.names()]
    return [
        {"distiller": name, "reads": ", ".join(of.reads), "note": of.note, "paper": of.paper}
        for name, of in found
    ]


def _networks() -> list[dict[str, Any]]:
    return [{"network": name} for name in models.names()]


def _datasets() -> list[dict[str, Any]]:
    found = [(name, data.facts(Selection(name))) for name in data.names()]
    return [
        {"dataset": name, "classes": of.classes, "size": of.size, "train": of.train}
        | {"test": of.test}
        for name, of in found
    ]


def _runs(
    whole: Plan, results: Results, estimates: Mapping[str, Estimate]
) -> list[dict[str, str | None]]:
    names = whole.names()
    return [
        {
            "id": run.id,
            "name": names[run.id],
            "kind": run.kind,
            **_state(run, estimates.get(run.id), results),
        }
        for run in whole.runs.values()
    ]


def _state(run: Run, estimate: Estimate | None, results: Results) -> dict[str, str | None]:
    """What became of a run: its record's status, or what stands in its way, or `to do`."""
    record = results.summary(run.id)
    if record is not None and record["status"] != "skipped":
        return {"state": record["status"], "reason": record["reason"]}
    if estimate is not None:
        state = "to do" if estimate.error is None else "skipped"
        return {"state": state, "reason": estimate.error or estimate.warning}
    if record is not None:
        return {"state": "skipped", "reason": record["reason"]}
    return {"state": "to do", "reason": None}


def _pairs(whole: Plan, runs: Sequence[Content]) -> list[dict[str, Any]]:
    """For each pair how many of its teachers, and of each method's runs, are in each state."""
    states = {run["id"]: run["state"] for run in runs}
    taught: dict[str, set[str]] = {}
    counts: dict[str, dict[str, Counter[str]]] = {}
    for cell in whole.cells:
        taught.setdefault(cell.pair.name, set()).add(cell.teacher)
        methods = counts.setdefault(cell.pair.name, {})
        methods.setdefault(cell.method.name, Counter())[states[cell.run]] += 1
    return [
        {
            "pair": pair,
            "teachers": dict(Counter(states[teacher] for teacher in taught[pair])),
            "methods": {name: dict(count) for name, count in methods.items()},
        }
        for pair, methods in counts.items()
    ]


def _costs(whole: Plan, estimates: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    """Parameters, and multiply-adds of one image, of every network of the plan."""
    found = {}
    for run in whole.runs.values():
        if (cost := estimates[run.id].network) is not None:
            name = run.specification.network
            found[name] = {
                "network": name,
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
            }
    return list(found.values())


def _memory(whole: Plan, estimates: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    """Bytes of banks and other buffers that a method keeps: the most of all pairs."""
    most: dict[str, int] = {}
    for cell in whole.cells:
        held = estimates[cell.run].memory
        most[cell.method.name] = max(held, most.get(cell.method.name, 0))
    return [{"method": name, "bytes": held} for name, held in most.items() if held]
