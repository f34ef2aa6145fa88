"""How a table speaks: metrics, networks and data sets under the papers' names, and its caption."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from bench.errors import BenchError, unknown


@dataclass(frozen=True)
class Metric:
    """A number that records hold, and how it is shown."""

    name: str
    phrase: str
    unit: str = "%"
    digits: int = 2
    higher: bool = True  # is more better?
    teacher: bool = True  # does it mean something for a teacher by itself?

    @property
    def short(self) -> str:
        """The phrase without the epoch, for an axis."""
        return re.sub(r"(, | of the )last epoch$", "", self.phrase)

    def shown(self, value: float) -> str:
        """The value with as many digits as the tables print."""
        return f"{value:.{self.digits}f}"


METRICS = {
    metric.name: metric
    for metric in (
        Metric("top1", "top-1 test accuracy of the last epoch"),
        Metric("top5", "top-5 test accuracy of the last epoch"),
        Metric("nll", "test NLL of the last epoch", "nats", digits=3, higher=False),
        Metric("ece", "calibration error (ECE) on the test set, last epoch", higher=False),
        Metric(
            "agreement", "agreement with the teacher on the test set, last epoch", teacher=False
        ),
        Metric(
            "kl",
            "KL(teacher ‖ student) on the test set, last epoch",
            "nats",
            digits=4,
            higher=False,
            teacher=False,
        ),
        Metric(
            "oracle", "oracle: the best top-1 test accuracy of any epoch, chosen on the test set"
        ),
    )
}

_NETWORKS = {
    "resnet50": "ResNet50",
    "mobilenet_v2": "MobileNetV2",
    "shufflenet_v1": "ShuffleNetV1",
    "shufflenet_v2": "ShuffleNetV2",
}

_DATA = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "stl10": "STL-10",
    "tiny_imagenet": "Tiny ImageNet",
    "digits": "scikit-learn's digits",
}


def metric(name: str) -> Metric:
    """The metric of this name; raises BenchError, with the nearest one, for an unknown name."""
    if name not in METRICS:
        raise BenchError(unknown("metric", name, METRICS))
    return METRICS[name]


def network(name: str) -> str:
    """A network's name as the papers print it; a network that they do not have keeps its own."""
    if wide := re.fullmatch(r"wrn_(\d+)_(\d+)", name):
        return f"WRN-{wide[1]}-{wide[2]}"
    return _NETWORKS.get(name, name)


def family(name: str) -> str:
    """A network's name up to its first number or underscore: what its relatives share."""
    return re.split(r"[\d_]", name, maxsplit=1)[0]


@dataclass(frozen=True)
class About:
    """What a caption tells of a suite beyond its records, in plain values."""

    title: str
    caption: str = ""  # the suite's own words
    data: Mapping[str, Any] = field(default_factory=dict)  # the fields of bench.data.Selection
    recipes: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # pair: the fields of bench.suite.Recipe
    reference: str = "kd"  # the method that arrows compare with


def data_set(selection: Mapping[str, Any]) -> str:
    """`CIFAR-100, 50 training images a class, …`: a data set and every cut that was made in it."""
    name = str(selection.get("name", ""))
    if name.startswith("folder:"):
        name = f"images of {PurePath(name.removeprefix('folder:')).name}"
    cuts = (
        ("per_class", "only {} training images a class"),
        ("test_per_class", "only {} test images a class"),
        ("validation", "{} training images held out for validation"),
        ("size", "images resized to {0} x {0}"),
    )
    said = [phrase.format(selection[key]) for key, phrase in cuts if selection.get(key)]
    return ", ".join([_DATA.get(name, name), *said])


def recipe(recipes: Mapping[str, Mapping[str, Any]], students: Mapping[str, str]) -> str:
    """`240 epochs, batch 64, lr 0.05 (0.01 for MobileNetV2)`.

    recipes: pair -> its student's recipe; students: pair -> the student's label.
    """
    shown = {pair: recipes[pair] for pair in students if pair in recipes}
    phrases = (("epochs", "{} epochs"), ("batch_size", "batch {}"), ("lr", "lr {}"))
    parts = (_usual(key, phrase, shown, students) for key, phrase in phrases)
    return ", ".join(part for part in parts if part)


def _usual(
    key: str, phrase: str, recipes: Mapping[str, Mapping[str, Any]], students: Mapping[str, str]
) -> str:
    """The most common value of one key, then those of the students that differ from it."""
    values = {pair: f"{found[key]:g}" for pair, found in recipes.items() if key in found}
    if not values:
        return ""
    usual = Counter(values.values()).most_common(1)[0][0]
    others: dict[str, list[str]] = {}
    for pair, value in values.items():
        others.setdefault(value, []).append(students[pair])
    others.pop(usual)
    said = phrase.format(usual)
    apart = [f"{value} for {joined(dict.fromkeys(found))}" for value, found in others.items()]
    return f"{said} ({'; '.join(apart)})" if apart else said


def seeds(usual: int, found: Sequence[int], *, uniform: bool) -> str:
    """What the numbers of a table are: one run, or a mean and a spread over so many seeds.

    usual: the n of most cells, 0 when there is none; found: all seeds, in order.
    """
    if not usual:
        return "No run has finished yet"
    named = ", ".join(map(str, found))
    said = f"mean ± unbiased standard deviation over n = {usual} seeds ({named})"
    if usual == 1:
        said = f"single runs (n = 1, seed {named}): no measure of noise"
    return said if uniform else f"{said}; another n stands in brackets"


def environment(records: Iterable[Mapping[str, Any]]) -> str:
    """`torch 2.15.0; NVIDIA H200; float32`: what the records were made with, each value once."""
    found = [record.get("environment", {}) for record in records]
    parts = []
    for key, prefix in (("torch", "torch "), ("device", ""), ("precision", "")):
        values = sorted({str(one[key]) for one in found if one.get(key)})
        if values:
            parts.append(prefix + joined(values))
    return "; ".join(parts)


def joined(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def sentences(parts: Iterable[str]) -> str:
    """Non-empty parts as sentences: each begins large and ends with one full stop."""
    trimmed = (part.strip().rstrip(".") for part in parts)
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in trimmed if part)
