"""The name, parameters and metrics of a record, which MLflow and TensorBoard log."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.plan import Plan

METRIC_NAMES = {"last": "final", "validation": "final_validation"}  # name in records -> logged name
MAX_VALUE_CHARS, MAX_NAME_CHARS = 6000, 250  # limits of MLflow


def run_name(record: Record, plan: "Plan") -> str:
    """Return a short name that starts with the method: `kd s0 · resnet8x4/resnet8` for seed 0."""
    cell = plan.first.get(record.id)
    if cell is None:
        return f"{record.kind} s{record.seed} · {record.network.name}"
    return f"{cell.method.name} s{cell.seed} · {cell.pair.name}"


def params(record: Record, plan: "Plan") -> Iterator[tuple[str, str]]:
    """Yield name and value of each setting of a run; one name is `method.crd.negatives`."""
    content = record.specification.content
    if record.specification.teacher is not None:
        network = plan.runs[record.specification.teacher].specification.network
        content["teacher"] = {"run": record.specification.teacher, "network": network}
    for term in content.get("method", {}).values():
        term |= term.pop("options", {})
    for path, value in _flat(content, "."):
        yield key(path), short(value)


def metrics(record: Record) -> Iterator[tuple[str, float, int]]:
    """Yield name, value and epoch of each number in a record.

    Names are, for example, `loss`, `term/ce`, `final/top1` and `parameters`.
    """
    for epoch in record.curves:
        values = {"term" if key == "terms" else key: v for key, v in epoch.content.items()}
        yield from _numbers(values, values.pop("epoch"))
    final = {METRIC_NAMES.get(key, key): values for key, values in record.metrics.items()}
    cost = {key: value for key, value in record.network.content.items() if key != "name"}
    last = record.curves[-1].epoch if record.curves else 0
    totals = {"accuracy": record.top1, "total_seconds": record.seconds}
    yield from _numbers({**final, **cost, **totals}, last)


def _numbers(values: Mapping[str, Any], epoch: int) -> Iterator[tuple[str, float, int]]:
    for name, value in _flat(values, "/"):
        if value is not None:
            yield key(name), float(value), epoch


def _flat(content: Mapping[str, Any], separator: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each leaf of nested mappings."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}{separator}{path}", leaf) for path, leaf in _flat(value, separator))
        else:
            yield key, value


def key(name: str) -> str:
    """Return a name in which `_` replaces characters that MLflow does not allow."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:MAX_NAME_CHARS]


def short(value: Any) -> str:
    """Return a value as text, cut to the limit of MLflow."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
