"""Add the metrics of measures, such as probes, to the records of the measured networks."""

from collections.abc import Iterable, Mapping

from bench.results.record import Record
from bench.spec import PROBE

MAX_VALUE = 1e12  # metrics are far smaller; up to this value, sums of squares stay finite


def merged(record: Record, measures: Mapping[str, Record]) -> Record:
    """Return a record with the metrics of finished measures, such as `probe.stl10.top1`.

    A probe's name is not part of its run's id, so suites with other names for a probe share its
    record. The record therefore has the metric `top1`, to which this function adds the name.

    Args:
        record: The record of a network's run.
        measures: Records of its measures, by the measure's name in the suite.
    """
    last = dict(record.metrics.get("last", {}))
    for name, measure in measures.items():
        begin = f"{name}." if name.startswith(PROBE) else ""
        values = measure.metrics.get("last", {}) if measure.status == "done" else {}
        last |= {f"{begin}{metric}": value for metric, value in values.items()}
    metrics = {**record.metrics, "last": last}
    return record.model_copy(update={"metrics": metrics}) if measures else record


def merge_all(records: Iterable[Record]) -> list[Record]:
    """Return the records of a folder's networks, each with the metrics of its measures.

    The records of measures are left out, and those of trials, which see no test image. In the name
    of a measure's record, the last word is the name of the measure.

    Args:
        records: All records of a results folder.
    """
    records = list(records)
    measures: dict[str, dict[str, Record]] = {}
    for record in records:
        if subject := record.specification.subject:
            measures.setdefault(subject, {})[record.name.rpartition(" ")[2]] = record
    specs = {record.id: record.specification for record in records}
    networks = [r for r in records if not (specs[r.id].subject or specs[r.id].data.held_out)]
    return [merged(record, measures.get(record.id, {})) for record in networks]


def measured_metrics(record: Record) -> dict[str, float]:
    """Return the metrics of a record by name.

    All metrics are from the last epoch except `oracle`, which is the best top-1 accuracy of any
    epoch. Values beyond ± `MAX_VALUE` are dropped.
    """
    names = (*record.metrics.get("last", {}), "oracle")
    return {name: value for name in names if (value := number(record, name)) is not None}


def number(record: Record, metric: str) -> float | None:
    """Return the value of a metric in a record; None: it has no value within ± `MAX_VALUE`."""
    part, key = ("oracle", "top1") if metric == "oracle" else ("last", metric)
    value = record.metrics.get(part, {}).get(key)
    return float(value) if value is not None and abs(value) <= MAX_VALUE else None
