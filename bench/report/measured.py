"""The measures of finished networks in tables: names of metrics, and phrases for captions.

A measure, such as a probe (a classifier on a network's features), tests a trained network.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, unknown
from bench.report import labels
from bench.report.labels import METRICS, join
from bench.report.model import Entry, MissingValue, missing_run
from bench.results.measured import measured_metrics, merged, number
from bench.spec import PROBE

if TYPE_CHECKING:
    from bench.results import Record
    from bench.suite import Suite
    from bench.suite.measures import Probe

_NORMALISATIONS = {
    "source": "the mean and deviation of the network's own training images",
    "target": "the mean and deviation of the probe's images",
    "half": "mean and deviation 0.5",
    "imagenet": "ImageNet's mean and deviation",
}
_SIMPLE = {
    "teacher_in_top5": "with at most five classes the value is 100 %",
    "classes": "accuracies of single classes are in the records",
    "agreement_floor": "each run is compared with the next seed of its method, the last seed with "
    "the first; the pairs share runs, so the standard deviation is too small",
}


def metric_names(suite: "Suite") -> list[str]:
    """Return the names of the metrics of a suite's measures, except metrics of single stages."""
    names = []
    for name, settings in suite.evaluate.items():
        if "types" in settings:
            names += [f"{name}.{key}" for key in ("top1", "nll", "ece", *settings["types"])]
        elif name == "calibration":
            names += ["ace", "ece_scaled", "nll_scaled"]
        else:
            names += ["classes.mean", "classes.worst"] if name == "classes" else [name]
    for probe in suite.probes:
        ends = ("top1", "balanced", *(["oracle"] if probe.recipe else []))
        names += [f"{PROBE}{probe.name}.{end}" for end in ends]
    return names


def main_metric(records: "Iterable[Record | None]") -> str:
    """Return the metric that tables show by default.

    It is top-1 accuracy, or agreement with the teacher if no student has labels.
    """
    finished = [record for record in records if record and record.status == "done"]
    students = [record for record in finished if record.specification.role == "student"]
    names = (
        name
        for name in ("top1", "agreement")
        for each in students
        if number(each, name) is not None
    )
    return next(names, "top1")


def check_metric(suite: "Suite", metric: str | None) -> None:
    """Raise BenchError for a metric that neither all suites nor this suite's measures have.

    None, the default metric, is valid for each suite.
    """
    if metric is None:
        return
    names = metric_names(suite)
    measure = labels.measure_of(metric)
    measures = {*suite.evaluate, *(f"{PROBE}{probe.name}" for probe in suite.probes)}
    is_stage = ".stage" in metric and measure in measures
    if metric not in METRICS and metric not in names and not is_stage:
        raise BenchError(unknown("metric", metric, [*METRICS, *names]))


def observed(entries: Iterable[Entry]) -> list[str]:
    """Return each metric of a measure that at least one run has."""
    records = {entry.record.id: entry.record for entry in entries if entry.record}
    names = dict.fromkeys(name for r in records.values() for name in measured_metrics(r))
    return [name for name in names if labels.measure_of(name)]


def measured(
    record: "Record | None", measures: Mapping[str, "Record | None"]
) -> tuple["Record | None", dict[str, MissingValue]]:
    """Return the record of a run with the metrics of its measures, and why metrics are missing.

    Args:
        record: The run's record; None: not run yet.
        measures: Records of the measures of its network, by the measure's name in the suite.
    """
    missing = {name: reason for name, r in measures.items() if (reason := missing_run(r))}
    done = {name: r for name, r in measures.items() if r is not None}
    return merged(record, done) if record else None, missing


def protocols(suite: "Suite") -> dict[str, str]:
    """Return a phrase for captions about each measure of a suite, by the measure's name."""
    phrases = {}
    for name, settings in suite.evaluate.items():
        if "types" in settings:
            phrases[name] = _corruptions(name, settings)
        elif name == "calibration":
            phrases[name] = _temperature(suite)
        elif name == "cka":
            phrases[name] = "on all test images at once; maps are averaged over their positions"
        else:
            phrases[name] = _SIMPLE[name]
    return phrases | {f"{PROBE}{probe.name}": _probe(probe) for probe in suite.probes}


def _corruptions(name: str, settings: Mapping[str, Any]) -> str:
    official = "the official pictures of CIFAR-100-C"
    ours = "pictures of this program, which are not CIFAR-100-C"
    kinds, severities = join(settings["types"]), join(map(str, settings["severities"]))
    pictures = ours if name == "corrupted" else official
    return f"{pictures}: means over {kinds}, severities {severities}"


def _temperature(suite: "Suite") -> str:
    if suite.data.validation:
        return "the temperature is fitted on the validation images"
    half = "one half of the test images of each class"
    return f"the temperature is fitted on {half}; ECE and NLL with it are those of the other half"


def _probe(probe: "Probe") -> str:
    data = labels.data_set(probe.data.spec)
    data += f" ({probe.incomplete})" if probe.incomplete else ""
    normalised = f"images normalised with {_NORMALISATIONS[probe.normalise]}"
    return f"probe {probe.name}: {data}; {'; '.join(_how(probe))}; {normalised}"


def _how(probe: "Probe") -> Iterator[str]:
    """Yield phrases about the training of a probe."""
    kept = "features of the frozen network in eval mode, computed once without augmentation"
    match probe.kind:
        case "logistic":
            yield f"multinomial logistic regression to convergence on standardised {kept}"
            yield "L2 penalty chosen on a tenth of the training images"
        case "knn":
            yield f"{probe.k} nearest neighbours by cosine, on {kept}"
        case "finetune":
            yield "all layers fine-tuned by SGD"
        case _:
            yield "a linear classifier trained by SGD on the frozen network"
            drifting = "batch norms use and update the statistics of the probe's images"
            yield drifting if probe.batch_norm == "drifting" else "batch norms are frozen"
    if probe.recipe:
        yield labels.recipes([("", probe.recipe)])
        if probe.published:
            yield f"recipe of {probe.published}, but images are resized before augmentation"
        yield "last epoch"
