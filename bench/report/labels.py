"""How tables name metrics, networks, data sets and recipes, and how they print numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from bench.config.text import count
from bench.errors import BenchError, unknown
from bench.spec import DataSpec, Recipe

TOLERANCE_POINTS = 0.5  # percentage points: the default tolerance


@dataclass(frozen=True)
class Metric:
    """A number that records hold, and how it is shown.

    Attributes:
        name: Key in a record, `top1`.
        phrase: Its name in a caption.
        unit: `%` or `nats`.
        digits: Digits after the point.
        higher: Whether higher is better.
        teacher: Whether it is defined for a teacher alone.
    """

    name: str
    phrase: str
    unit: str = "%"
    digits: int = 2
    higher: bool = True
    teacher: bool = True

    @property
    def short(self) -> str:
        """The phrase without the epoch, for an axis."""
        return re.sub(r"(, | of the )last epoch$", "", self.phrase)

    @property
    def description(self) -> str:
        """`top-1 test accuracy of the last epoch (%; higher is better)`."""
        return f"{self.phrase} ({self.unit}; {'higher' if self.higher else 'lower'} is better)"

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: percentages differ by points."""
        return "points" if self.unit == "%" else self.unit

    @property
    def default_tolerance(self) -> float | None:
        """Default tolerance: a difference up to it counts as zero. None: no default."""
        return TOLERANCE_POINTS if self.unit == "%" else None

    def tolerance(self, value: float | None) -> float:
        """Return a tolerance, the default (else 0) for None; BenchError if it is not valid."""
        tolerance = (self.default_tolerance or 0.0) if value is None else value
        if not 0 <= tolerance < float("inf"):
            raise BenchError(f"tolerance {value}: allowed is a number of {self.unit}, 0 or more")
        return tolerance

    def format(self, value: float) -> str:
        """Return the value with the digits that tables print, and a true minus."""
        return f"{value:.{self.digits}f}".replace("-", "−")

    def mean_std(self, mean: float, std: float | None) -> str:
        """Return `75.48 ± 0.09`; without a standard deviation the mean."""
        return " ± ".join(self.format(value) for value in (mean, std) if value is not None)


METRICS = {metric.name: metric for metric in (
    Metric("top1", "top-1 test accuracy of the last epoch"),
    Metric("top5", "top-5 test accuracy of the last epoch"),
    Metric("nll", "test NLL of the last epoch", "nats", digits=3, higher=False),
    Metric("ece", "calibration error (ECE) on the test set, last epoch", higher=False),
    Metric("agreement", "agreement with the teacher on the test set, last epoch", teacher=False),
    Metric("kl", "KL(teacher ‖ student) on the test set, last epoch", "nats", 4, False, False),
    Metric("oracle", "oracle: the best top-1 test accuracy of any epoch, chosen on the test set"),
)}  # fmt: skip
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
_RECIPE = {"epochs": "{} epochs", "batch_size": "batch {}", "lr": "lr {}"}


def metric(name: str) -> Metric:
    """Return the metric of this name; BenchError with the nearest match for an unknown name."""
    if name not in METRICS:
        raise BenchError(unknown("metric", name, METRICS))
    return METRICS[name]


def network(name: str) -> str:
    """Return a network's name as the papers print it; other networks keep theirs."""
    if wide := re.fullmatch(r"wrn_(\d+)_(\d+)", name):
        return f"WRN-{wide[1]}-{wide[2]}"
    return _NETWORKS.get(name, name)


def network_id(printed: str) -> str:
    """Return the name in this package of a network as the papers print it."""
    if wide := re.fullmatch(r"WRN-(\d+)-(\d+)", printed):
        return f"wrn_{wide[1]}_{wide[2]}"
    return {label: name for name, label in _NETWORKS.items()}.get(printed, printed)


def data_set(data: DataSpec) -> str:
    """Return `CIFAR-100, only 50 training images per class`: a data set and its reductions."""
    name = data.name
    if name.startswith("folder:"):
        name = f"images of {PurePath(name.removeprefix('folder:')).name}"
    return ", ".join([_DATA.get(name, name), *data_reductions(data)])


def data_reductions(data: DataSpec) -> list[str]:
    """Return a phrase for each way in which a data set is reduced or resized."""
    phrases = (
        (data.per_class, f"only {count(data.per_class or 0, 'training image')} per class"),
        (data.test_per_class, f"only {count(data.test_per_class or 0, 'test image')} per class"),
        (data.validation, f"{count(data.validation, 'training image')} held out for validation"),
        (data.size, f"images resized to {data.size} x {data.size}"),
    )
    return [phrase for number, phrase in phrases if number]


def recipes(students: Sequence[tuple[str, Recipe]]) -> str:
    """Return `240 epochs, batch 64, lr 0.05 (0.01 for MobileNetV2)` for a recipe per pair."""
    phrases = []
    for key, phrase in _RECIPE.items():
        values = [f"{getattr(recipe, key):g}" for _, recipe in students]
        usual = Counter(values).most_common(1)[0][0] if values else ""
        others: dict[str, dict[str, None]] = {}
        for (student, _), value in zip(students, values, strict=True):
            if value != usual:
                others.setdefault(value, {})[student] = None
        text = "1 epoch" if (key, usual) == ("epochs", "1") else phrase.format(usual)
        names = "; ".join(f"{value} for {join(labels)}" for value, labels in others.items())
        phrases.append(f"{text} ({names})" if names else text)
    return ", ".join(phrases) if students else ""


def p_value(p: float) -> str:
    """Return `0.013` or `< 0.0001`: a p as tables print it."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def p_equals(p: float) -> str:
    """Return `p = 0.013` or `p < 0.0001`, for a sentence."""
    return f"p {p_value(p)}" if p < 1e-4 else f"p = {p_value(p)}"


def signed(value: float, digits: int) -> str:
    """Return `+0.28`, `−0.28` or `0.00`, with a true minus."""
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if not float(text) else text.replace("-", "−")


def join(words: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def sentences(parts: Iterable[str]) -> str:
    """Return the parts that are not empty as sentences with a capital and a full stop."""
    trimmed = (part.strip().rstrip(".") for part in parts)
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in trimmed if part)


def one_line(text: str) -> str:
    """Return the text on one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def setting(value: object) -> str:
    """Return a value of a recipe or an option as text: `on`, `none`, `150/180/210`, `0.05`."""
    match value:
        case None | {}:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return "/".join(map(str, value)) or "none"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}…"
