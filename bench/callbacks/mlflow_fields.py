"""A record as MLflow shows it: tags, parameters and metrics under names that MLflow allows."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.plan import Plan

MAX_VALUE_CHARS, MAX_NAME_CHARS = 6000, 250  # limits of MLflow
RUN_ID = "bench.run_id"  # tag that holds the id of the record's run
METRIC_NAMES = {"last": "final", "validation": "final_validation"}  # by names in records


def tags(record: Record, plan: "Plan") -> dict[str, str]:
    """Return tags to filter by; those that are None are left out."""
    values = {
        RUN_ID: record.id,
        "kind": record.kind,
        "status": record.status,
        "reason": record.reason,
        "teacher.sha256": record.teacher.sha256 if record.teacher else None,
        "commit": record.environment.get("commit"),
        "device": record.environment.get("device"),
    }
    if (cell := plan.first.get(record.id)) is not None:
        values |= {"pair": cell.pair.name, "method": cell.method.name}
    return {key: _short(value) for key, value in values.items() if value is not None}


def params(record: Record, plan: "Plan") -> dict[str, str]:
    """Return the flat specification: `recipe.lr`, `teacher.network`, `method.crd.negatives`."""
    content = record.specification.content
    if record.specification.teacher is not None:
        network = plan.runs[record.specification.teacher].specification.network
        content["teacher"] = {"run": record.specification.teacher, "network": network}
    for term in content.get("method", {}).values():
        term |= term.pop("options", {})
    return {_key(path): _short(value) for path, value in _flat(content, ".")}


def metrics(record: Record) -> Iterator[tuple[str, float, int]]:
    """Yield name, value and epoch of each number: `loss`, `term/ce`, `final/top1`, `parameters`."""
    for epoch in record.curves:
        values = {"term" if key == "terms" else key: v for key, v in epoch.content.items()}
        yield from _numbers(values, values.pop("epoch"))
    final = {METRIC_NAMES.get(key, key): values for key, values in record.metrics.items()}
    cost = {key: value for key, value in record.network.content.items() if key != "name"}
    last = record.curves[-1].epoch if record.curves else 0
    yield from _numbers({**final, **cost, "total_seconds": record.seconds}, last)


def times(record: Record) -> tuple[int, int]:
    """Return begin and end in milliseconds since 1970; raise ValueError if they are no times."""
    begin, end = (
        int(datetime.fromisoformat(time or "").timestamp() * 1000)
        for time in (record.started or record.finished, record.finished)
    )
    return begin, end


def _numbers(values: Mapping[str, Any], epoch: int) -> Iterator[tuple[str, float, int]]:
    for name, value in _flat(values, "/"):
        if value is not None:
            yield _key(name), float(value), epoch


def _flat(content: Mapping[str, Any], separator: str) -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, each with its path."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}{separator}{path}", leaf) for path, leaf in _flat(value, separator))
        else:
            yield key, value


def _key(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:MAX_NAME_CHARS]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
