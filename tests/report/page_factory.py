"""Records with curves, for pages."""

from report_factory import probe_entries

from bench.report.table import Entry

HOSTILE = "</script><img src=x onerror=alert(1)><!-- <b-evil> & \" ' {{$x}} \ud800 `"


def entries(label: str | None = None) -> list[Entry]:
    """The probe's entries, each record with curves and all that a worker writes."""
    made = []
    for one in probe_entries():
        if one.record is None:
            continue
        last = (one.record.get("metrics") or {}).get("last")
        if last:
            last.setdefault("nll", 2 - last["top1"] / 50)
        record = {
            **one.record,
            "name": label or f"{one.pair} {one.method} seed {one.seed}",
            "reason": one.record.get("reason") and (label or one.record["reason"]),
            "network": {"name": one.student, "parameters": 78042, "multiply_adds": 781952},
            "specification": {
                "network": one.student,
                "method": {"ce": {"weight": 1.0, "options": {}}},
                "data": {"name": "cifar100"},
            },
            "seconds": 12.5 + one.seed,
            "curves": [_epoch(number, one) for number in range(1, 13)],
        }
        of = {**vars(one), "record": record, "label": label or one.label}
        if one.teacher == "resnet32x4":  # both pairs within their family: one table
            of |= {"pair": "resnet32x4/resnet8x4", "student": "resnet8x4"}
        made.append(Entry(**of))
    return made


def _epoch(number: int, one: Entry) -> dict[str, object]:
    return {
        "epoch": number,
        "lr": 0.05,
        "loss": 4 / number,
        "seconds": 1.0 + one.seed / 10,
        "shared_seconds": 0.25,
        "images_per_second": 5000.0,
        "test": {"top1": 60 + number + len(one.method) / 10, "nll": 1.0},
    }
