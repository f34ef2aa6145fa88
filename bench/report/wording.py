"""How a table speaks: metrics, networks, data sets and recipes under the papers' names."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from bench.errors import BenchError, unknown

POINTS = 0.5  # percentage points within which two cells are the same, where nothing else is said


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

    @property
    def step(self) -> str:
        """The unit of a difference: of percentages, points."""
        return "points" if self.unit == "%" else self.unit

    @property
    def tolerance(self) -> float | None:
        """The difference that counts as none where nothing is said; None: there is no such one."""
        return POINTS if self.unit == "%" else None

    def allowed(self, tolerance: float | None) -> float:
        """A tolerance, checked; where nothing is said that of the metric, or 0: none at all.

        Raises BenchError for a number that is no tolerance.
        """
        found = (self.tolerance or 0.0) if tolerance is None else tolerance
        if not 0 <= found < float("inf"):
            raise BenchError(f"tolerance {found}: allowed is a number of {self.unit}, 0 or more")
        return found

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


def data_set(selection: Mapping[str, Any]) -> str:
    """`CIFAR-100, 50 training images a class, …`: a data set and every cut that was made in it."""
    name = str(selection.get("name", ""))
    if name.startswith("folder:"):
        name = f"images of {PurePath(name.removeprefix('folder:')).name}"
    cuts = (
        ("per_class", "only {} a class", "training image"),
        ("test_per_class", "only {} a class", "test image"),
        ("validation", "{} held out for validation", "training image"),
    )
    said = [
        phrase.format(counted(selection[key], noun))
        for key, phrase, noun in cuts
        if selection.get(key)
    ]
    if size := selection.get("size"):
        said.append(f"images resized to {size} x {size}")
    return ", ".join([_DATA.get(name, name), *said])


def recipe(recipes: Mapping[str, Mapping[str, Any]], students: Mapping[str, str]) -> str:
    """`240 epochs, batch 64, lr 0.05 (0.01 for MobileNetV2)`.

    recipes: pair -> its student's recipe; students: pair -> the student's label.
    """
    shown = {pair: recipes[pair] for pair in students if pair in recipes}
    phrases: dict[str, Callable[[str], str]] = {
        "epochs": lambda value: counted(value, "epoch"),
        "batch_size": "batch {}".format,
        "lr": "lr {}".format,
    }
    parts = (_usual(key, phrase, shown, students) for key, phrase in phrases.items())
    return ", ".join(part for part in parts if part)


def _usual(
    key: str,
    phrase: Callable[[str], str],
    recipes: Mapping[str, Mapping[str, Any]],
    students: Mapping[str, str],
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
    said = phrase(usual)
    apart = [f"{value} for {joined(dict.fromkeys(found))}" for value, found in others.items()]
    return f"{said} ({'; '.join(apart)})" if apart else said


def counted(number: int | str, noun: str) -> str:
    """`1 epoch`, `240 epochs`."""
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"


def chance(p: float) -> str:
    """`0.013`, or `< 0.0001`: a p as tables print it."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def joined(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def sentences(parts: Iterable[str]) -> str:
    """Non-empty parts as sentences: each begins large and ends with one full stop."""
    trimmed = (part.strip().rstrip(".") for part in parts)
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in trimmed if part)
