"""What a page needs of the records: cells, runs, thinned curves, costs; as JSON for a page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from bench.config.text import printable
from bench.report import wording
from bench.report.cells import Entry
from bench.report.wording import METRICS

MOST_POINTS = 64  # of one curve; a longer one keeps its first, its last, and some between
_KEPT = ("id", "kind", "name", "status", "reason", "seed", "metrics", "network", "teacher",
         "weights", "seconds", "started", "finished")  # fmt: skip

Key = tuple[str, str, str]  # pair, role, method
Record = Mapping[str, Any]


class Embedded:
    """The cells of a suite and their records, each once, as plain values."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.cells: dict[Key, dict[str, Any]] = {}
        self.records: dict[str, Record] = {}
        for entry in entries:
            name = "teacher" if entry.role == "teacher" else entry.method
            of = self.cells.setdefault((entry.pair, entry.role, name), _cell(entry, name))
            if entry.record and "id" in entry.record:
                run = str(entry.record["id"])
                self.records.setdefault(run, entry.record)
                if run not in of["runs"]:
                    of["runs"].append(run)
        self.places = {key: place for place, key in enumerate(self.cells)}

    @property
    def longest(self) -> int:
        """The most epochs of any curve, as recorded."""
        return max((len(record.get("curves") or ()) for record in self.records.values()), default=0)

    def content(self) -> dict[str, Any]:
        """All of it as plain values."""
        environments: list[Any] = []
        runs = {}
        for run, record in self.records.items():
            made = record.get("environment") or {}
            if made not in environments:
                environments.append(made)
            runs[run] = {
                **{key: record[key] for key in _KEPT if record.get(key) is not None},
                "specification": _specification(record.get("specification") or {}),
                "environment": environments.index(made),
                "curves": curves(record.get("curves") or ()),
                "cost": self._cost(record),
            }
        metrics = [
            {"name": one.name, "phrase": one.phrase, "unit": one.unit, "digits": one.digits}
            for one in METRICS.values()
        ]
        return {
            "metrics": metrics,
            "cells": list(self.cells.values()),
            "records": runs,
            "environments": environments,
        }

    def _cost(self, record: Record) -> dict[str, float]:
        """Seconds of the training as if alone, and multiply-adds; what cannot be known is absent.

        Multiply-adds: every image seen costs the student three forward passes (one forward, and
        twice as much backward), and one of the teacher where a loss asks it. Losses do not count.
        """
        entries = record.get("curves") or ()
        if not entries:
            return {}
        seconds = sum(one["seconds"] + one.get("shared_seconds", 0.0) for one in entries)
        images = sum(round(one["images_per_second"] * one["seconds"]) for one in entries)
        found: dict[str, float] = {"seconds": rounded(seconds)}
        each = 3 * ((record.get("network") or {}).get("multiply_adds") or 0)
        asked = set((record.get("specification") or {}).get("method") or {}) - {"ce"}
        if asked:
            teacher = self.records.get(str((record.get("teacher") or {}).get("id")), {})
            forward = (teacher.get("network") or {}).get("multiply_adds")
            each = each + forward if forward and each else 0
        return found | ({"multiply_adds": rounded(float(images * each))} if each else {})


def curves(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """The epochs as columns, at most `MOST_POINTS` of them, numbers with 5 significant digits."""
    kept = [entries[place] for place in _places(entries)]
    columns: dict[str, list[float | None]] = {
        key: [_number(one.get(key)) for one in kept] for key in ("epoch", "loss", "lr")
    }
    for name in METRICS:
        values = [_number((one.get("test") or {}).get(name)) for one in kept]
        if any(value is not None for value in values):
            columns[name] = values
    return columns if kept else {}


def _places(entries: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which epochs stay: all of a short curve, else evenly spaced ones, tested ones first."""
    if len(entries) <= MOST_POINTS:
        return list(range(len(entries)))
    tested = [place for place, one in enumerate(entries) if "test" in one]
    pool = tested if len(tested) > 1 else list(range(len(entries)))
    most = min(MOST_POINTS - 1, len(pool))
    spread = {pool[round(step * (len(pool) - 1) / (most - 1))] for step in range(most)}
    return sorted(spread | {0})


def as_json(content: Any) -> str:
    """JSON that can stand within a script element of a page: no `<`, all of it printable."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    text = printable(text)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def rounded(value: float) -> float:
    """The value with 5 significant digits."""
    return float(f"{value:.5g}")


def _number(value: Any) -> float | None:
    if isinstance(value, int) or value is None:
        return value
    return rounded(value)


def _cell(entry: Entry, name: str) -> dict[str, Any]:
    return {
        "pair": entry.pair,
        "teacher": wording.network(entry.teacher),
        "student": wording.network(entry.student),
        "role": entry.role,
        "method": name,
        "label": entry.label or name,
        "runs": [],
    }


def _specification(of: Mapping[str, Any]) -> dict[str, Any]:
    """The specification; of a folder of images only its last part, as where it lies is private."""
    name = str((of.get("data") or {}).get("name", ""))
    if not name.startswith("folder:"):
        return dict(of)
    last = PurePath(name.removeprefix("folder:")).name
    return {**of, "data": {**of["data"], "name": f"folder:…/{last}"}}
