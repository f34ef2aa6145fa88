"""Entries with curves, for pages."""

from dataclasses import replace

from report_factory import probe_entries

from bench.report.model import Entry
from bench.results.record import Record
from tests.records import make_epoch

HOSTILE = "</script><img src=x onerror=alert(1)><!-- <b-evil> & \" ' {{$x}} \ud800 `"


def entries(label: str | None = None) -> list[Entry]:
    """The probe's entries, each record with curves and all that a worker writes."""
    return [_with_curves(entry, label) for entry in probe_entries() if entry.record]


def _with_curves(entry: Entry, label: str | None) -> Entry:
    content = entry.record.content
    if last := content["metrics"].get("last"):
        last.setdefault("nll", 2 - last["top1"] / 50)
    content |= {
        "name": label or f"{entry.pair} {entry.method} seed {entry.seed}",
        "reason": content["reason"] and (label or content["reason"]),
        "network": {"name": entry.student, "parameters": 78042, "multiply_adds": 781952},
        "seconds": 12.5 + entry.seed,
        "curves": [_epoch(number, entry) for number in range(1, 13)],
    }
    content["specification"] |= {"network": entry.student, "data": {"name": "cifar100"}}
    record = Record.model_validate(content, strict=False)
    return replace(entry, record=record, label=label or entry.label)


def _epoch(number: int, entry: Entry) -> dict[str, object]:
    test = {"top1": 60 + number + len(entry.method) / 10, "nll": 1.0}
    return make_epoch(number, seconds=1.0 + entry.seed / 10, test=test)
