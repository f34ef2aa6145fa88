"""What a tracker is told of a record: flat words and numbers, under names that MLflow takes."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bench.results import Record, document

if TYPE_CHECKING:
    from bench.planning.plan import Plan

LONGEST = 6000  # characters of a value, in MLflow
ID = "bench.run_id"  # the tag that says whose record it is
RENAMED = {"last": "final", "validation": "final_validation"}  # of a record's metrics


@dataclass(frozen=True)
class Account:
    """A record, ready to be logged."""

    record: Record
    name: str  # what people call the run
    tags: Mapping[str, str]  # to filter by
    params: Mapping[str, str]  # the specification: `recipe.lr`, `method.crd.negatives`
    numbers: list[tuple[str, float, int]]  # name, value, epoch: `loss`, `term/ce`, `final/top1`

    @property
    def fingerprint(self) -> str:
        """A hash of all that the record says, before it is written as after it is read."""
        content = self.record.content
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def document(self) -> str:
        """The record as it is on disk."""
        return document(self.record)

    @property
    def times(self) -> tuple[int, int]:
        """When the run began and ended, in milliseconds since 1970."""
        end = datetime.fromisoformat(self.record["finished"])
        begin = self.record["started"]
        return _milliseconds(datetime.fromisoformat(begin) if begin else end), _milliseconds(end)


def account(record: Record, plan: "Plan") -> Account:
    """The account of a record of the plan; tags and numbers that are None are left out."""
    tags = {key: _short(value) for key, value in _tags(record, plan).items() if value is not None}
    given = _flat(_specification(record, plan), ".")
    params = {_key(key): _short(value) for key, value in given}
    return Account(
        record, plan.names()[record["id"]], tags, params, [*_curves(record), *_end(record)]
    )


def _tags(record: Record, plan: "Plan") -> dict[str, str | None]:
    tags = {key: record[key] for key in ("kind", "status", "reason")}
    tags |= {ID: record["id"], "teacher.sha256": (record["teacher"] or {}).get("sha256")}
    tags |= {key: record["environment"].get(key) for key in ("commit", "device")}
    if (cell := plan.first.get(record["id"])) is not None:
        tags |= {"pair": cell.pair.name, "method": cell.method.name}
    return tags


def _specification(record: Record, plan: "Plan") -> dict[str, Any]:
    """The record's specification with the teacher's network, and options beside their weight."""
    given = dict(record["specification"])
    if (teacher := given.get("teacher")) is not None:
        network = plan.runs[teacher].specification["network"]
        given["teacher"] = {"run": teacher, "network": network}
    terms = given.get("method", {}).items()
    given["method"] = {
        name: {**{key: value for key, value in term.items() if key != "options"}, **term["options"]}
        for name, term in terms
    }
    return given


def _curves(record: Record) -> Iterator[tuple[str, float, int]]:
    """Every number of every epoch."""
    for point in record["curves"]:
        shown = {"term" if key == "terms" else key: value for key, value in point.items()}
        yield from _numbers(shown, shown.pop("epoch"))


def _end(record: Record) -> Iterator[tuple[str, float, int]]:
    """What is known at a run's end: `final/top1`, `oracle/top1`, `parameters`, `total_seconds`."""
    metrics = {RENAMED.get(key, key): value for key, value in record["metrics"].items()}
    cost = {key: value for key, value in record["network"].items() if key != "name"}
    last = record["curves"][-1]["epoch"] if record["curves"] else 0
    yield from _numbers({**metrics, **cost, "total_seconds": record["seconds"]}, last)


def _numbers(content: Mapping[str, Any], epoch: int) -> Iterator[tuple[str, float, int]]:
    for name, value in _flat(content, "/"):
        if value is not None:
            yield _key(name), float(value), epoch


def _flat(content: Mapping[str, Any], joint: str) -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, each under its path."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}{joint}{name}", leaf) for name, leaf in _flat(value, joint))
        else:
            yield key, value


def _key(name: str) -> str:
    """The name in the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:250]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
