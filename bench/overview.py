"""What there is and how it stands: content as plain data, and as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

import distillers
from bench import data, feasibility, models, suite
from bench.errors import Mistakes, unknown
from bench.feasibility import Forecast
from bench.plan import Plan, Run, cohorts
from bench.results import Results

Content = Mapping[str, Any]


def plan(whole: Plan, results: Results, root: Path | None) -> dict[str, Any]:
    """Every run with its state, the networks' and memories' sizes, the number of cohorts."""
    forecasts = feasibility.forecast(whole, root)
    names = whole.names()
    runs = [
        {"id": run.id, "name": names[run.id], "kind": run.kind}
        | _state(run, forecasts[run.id], results)
        for run in whole.runs.values()
    ]
    todo = [whole.runs[run["id"]] for run in runs if run["state"] in ("to do", "failed")]
    return {
        "suite": whole.suite.name,
        "runs": runs,
        "cohorts": len(cohorts(todo)),
        "networks": _costs(whole, forecasts),
        "memory": _memory(whole, forecasts),
    }


def plan_text(content: Content) -> str:
    """The plan for people."""
    counts = Counter((run["kind"], run["state"]) for run in content["runs"])
    parts = [f"suite {content['suite']}: {len(content['runs'])} runs"]
    parts += [f"  {n} {kind}s {state}" for (kind, state), n in sorted(counts.items())]
    parts += [f"  to do in {content['cohorts']} cohorts, each with one teacher pass for all", ""]
    parts += [_table(content["networks"], parameters=",", multiply_adds=","), ""]
    if content["memory"]:
        parts += [_table(content["memory"], bytes=","), ""]
    parts += [
        f"{run['state']}: {run['name']}: {run['reason']}"
        for run in content["runs"]
        if run["reason"]
    ]
    return "\n".join(parts).rstrip()


def status(whole: Plan, results: Results) -> dict[str, Any]:
    """How many runs are in each state, and all that have no result."""
    names = whole.names()
    runs = [
        {"id": run.id, "name": names[run.id]} | _state(run, None, results)
        for run in whole.runs.values()
    ]
    return {
        "suite": whole.suite.name,
        "counts": dict(Counter(run["state"] for run in runs)),
        "without_result": [run for run in runs if run["state"] != "done"],
    }


def status_text(content: Content) -> str:
    """The status for people."""
    counts = ", ".join(f"{n} {state}" for state, n in content["counts"].items())
    lines = [f"suite {content['suite']}: {counts}"]
    lines += [
        f"  {run['state']}: {run['name']}" + (f": {run['reason']}" if run["reason"] else "")
        for run in content["without_result"]
    ]
    return "\n".join(lines)


def teachers(whole: Plan, results: Results) -> list[dict[str, Any]]:
    """Each teacher of a suite: where it comes from, its state, accuracy, and weights."""
    rows = []
    for run in (run for run in whole.runs.values() if run.kind == "teacher"):
        record = results.record(run.id) or {}
        weights = results.weights(run.id)
        rows.append(
            {
                "network": run.specification["network"],
                "seed": run.specification["seed"],
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


def teachers_text(rows: Sequence[Content]) -> str:
    """The teachers for people."""
    short = [{**row, "sha256": (row["sha256"] or "")[:12]} for row in rows]
    return _table(short, top1=".2f", manifest=".2f")


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
        raise Mistakes([f"bench list {what}: {unknown('list', what, kinds)}"])
    return kinds[what]()


def listing_text(rows: Sequence[Content]) -> str:
    """A listing for people."""
    return _table(rows)


def _suites() -> list[dict[str, Any]]:
    return [{"suite": path.stem, "file": str(path)} for path in suite.shipped()]


def _methods() -> list[dict[str, Any]]:
    return [
        {"method": name, "terms": _terms(method["terms"]), "source": method["source"]}
        for name, method in suite.canonical().items()
    ]


def _distillers() -> list[dict[str, Any]]:
    found = [(name, distillers.load(name)) for name in distillers.names()]
    return [
        {"distiller": name, "reads": ", ".join(of.reads), "note": of.note, "paper": of.paper}
        for name, of in found
    ]


def _networks() -> list[dict[str, Any]]:
    return [{"network": name} for name in models.names()]


def _datasets() -> list[dict[str, Any]]:
    return [{"dataset": name} for name in data.names()]


def _terms(terms: Mapping[str, Any]) -> str:
    weights = {
        name: term["weight"] if isinstance(term, Mapping) else term for name, term in terms.items()
    }
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items())


def _state(run: Run, forecast: Forecast | None, results: Results) -> dict[str, Any]:
    """What became of a run: its record's status, or what stands in its way, or `to do`."""
    if forecast is not None and forecast.obstacle is not None:
        return {"state": "skipped", "reason": forecast.obstacle}
    record = results.record(run.id)
    if record is None:
        return {"state": "to do", "reason": None}
    return {"state": record["status"], "reason": record["reason"]}


def _costs(whole: Plan, forecasts: Mapping[str, Forecast]) -> list[dict[str, Any]]:
    """Parameters, and multiply-adds of one image, of every network of the plan."""
    found = {}
    for run in whole.runs.values():
        if (cost := forecasts[run.id].network) is not None:
            name = run.specification["network"]
            found[name] = {
                "network": name,
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
            }
    return list(found.values())


def _memory(whole: Plan, forecasts: Mapping[str, Forecast]) -> list[dict[str, Any]]:
    """Bytes of banks and other buffers that a method keeps: the most of all pairs."""
    most: dict[str, int] = {}
    for cell in whole.cells:
        held = forecasts[cell.run].memory
        most[cell.method.name] = max(held, most.get(cell.method.name, 0))
    return [{"method": name, "bytes": held} for name, held in most.items() if held]


def _table(rows: Sequence[Content], **formats: str) -> str:
    """Rows of equal keys as an aligned table; `formats` by key, for numbers."""
    shown = [
        [
            format(value, formats[key]) if key in formats and value is not None else value
            for key, value in row.items()
        ]
        for row in rows
    ]
    header = [key.replace("_", " ") for key in rows[0]] if rows else []
    return tabulate(shown, headers=header, disable_numparse=True)
