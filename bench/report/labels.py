"""Names of metrics, networks, data sets and recipes in tables, and the format of numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from bench.config.text import count
from bench.errors import BenchError, unknown
from bench.spec import PAPERS, DataSpec, Recipe

TOLERANCE_POINTS = 0.5  # percentage points; the default tolerance of metrics with unit %


@dataclass(frozen=True)
class Metric:
    """A metric of a run, and its format in tables.

    Attributes:
        name: Key of the metric in a record, such as `top1`.
        phrase: Name of the metric in a caption.
        unit: `%` or `nats`.
        digits: Digits after the decimal point.
        higher: Whether higher is better.
        teacher: Whether teachers have the metric; false if it compares student and teacher.
    """

    name: str
    phrase: str
    unit: str = "%"
    digits: int = 2
    higher: bool = True
    teacher: bool = True

    @property
    def short(self) -> str:
        """The phrase without `last epoch`, for the axis of a figure."""
        return re.sub(r"(, | of the )last epoch$", "", self.phrase)

    @property
    def description(self) -> str:
        """Phrase and unit: `top-1 test accuracy of the last epoch (%; higher is better)`."""
        return f"{self.phrase} ({self.unit}; {'higher' if self.higher else 'lower'} is better)"

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: percentage points for percentages, else `unit`."""
        return "points" if self.unit == "%" else self.unit

    @property
    def default_tolerance(self) -> float | None:
        """The largest difference that counts as zero by default; None: no default."""
        return TOLERANCE_POINTS if self.unit == "%" else None

    def tolerance(self, value: float | None) -> float:
        """Return a valid tolerance: the largest difference that counts as zero.

        Args:
            value: The tolerance, in the metric's unit; None: the default, or 0 without a default.

        Raises:
            BenchError: The tolerance is negative, infinite or NaN.
        """
        tolerance = (self.default_tolerance or 0.0) if value is None else value
        if not 0 <= tolerance < float("inf"):
            raise BenchError(f"tolerance {value}. Allowed: a number in {self.unit}, 0 or more")
        return tolerance

    def format(self, value: float) -> str:
        """Return the value rounded to `digits`, with a minus sign (−) instead of a hyphen."""
        return f"{value:.{self.digits}f}".replace("-", "−")

    def mean_std(self, mean: float, std: float | None) -> str:
        """Return `75.48 ± 0.09`, or only the mean if the standard deviation is None."""
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
_RECIPE_CHANGES = {"optimizer": "{}", "schedule": "{} schedule"}  # the papers' values are left out


def metric(name: str) -> Metric:
    """Return the metric of this name.

    Raises:
        BenchError: The name is unknown; the message suggests the nearest match.
    """
    if name not in METRICS:
        raise BenchError(unknown("metric", name, METRICS))
    return METRICS[name]


def network(name: str) -> str:
    """Return a network's name as the papers print it (`WRN-40-2`), or else its name in suites."""
    if wide := re.fullmatch(r"wrn_(\d+)_(\d+)", name):
        return f"WRN-{wide[1]}-{wide[2]}"
    return _NETWORKS.get(name, name)


def network_id(printed: str) -> str:
    """Return this package's name of a network from its printed name: `wrn_40_2` for `WRN-40-2`."""
    if wide := re.fullmatch(r"WRN-(\d+)-(\d+)", printed):
        return f"wrn_{wide[1]}_{wide[2]}"
    return {label: name for name, label in _NETWORKS.items()}.get(printed, printed)


def data_set(data: DataSpec) -> str:
    """Return a data set and its reductions: `CIFAR-100, only 50 training images per class`."""
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
    reductions = [phrase for number, phrase in phrases if number]
    return [*(["images without labels"] if data.split == "unlabelled" else []), *reductions]


def recipes(students: Sequence[tuple[str, Recipe]]) -> str:
    """Return a phrase for recipes: `240 epochs, batch 64, lr 0.05 (0.01 for MobileNetV2)`.

    Args:
        students: For each pair, the name of the student's network and its recipe.
    """
    phrases = []
    changes = {
        key: phrase
        for key, phrase in _RECIPE_CHANGES.items()
        if any(getattr(recipe, key) != getattr(PAPERS, key) for _, recipe in students)
    }
    for key, phrase in {**_RECIPE, **changes}.items():
        values = [setting(getattr(recipe, key)) for _, recipe in students]
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
    """Return a p-value as tables print it: `0.013` or `< 0.0001`."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def p_equals(p: float) -> str:
    """Return a p-value for use in a sentence: `p = 0.013` or `p < 0.0001`."""
    return f"p {p_value(p)}" if p < 1e-4 else f"p = {p_value(p)}"


def signed(value: float, digits: int) -> str:
    """Return a number with its sign: `+0.28`, `−0.28` (minus sign, not hyphen) or `0.00`."""
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if not float(text) else text.replace("-", "−")


def join(words: Iterable[str]) -> str:
    """Join one or more words as in a sentence: `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def sentences(parts: Iterable[str]) -> str:
    """Make a sentence of each part, with a capital and a full stop; skip empty parts."""
    trimmed = (part.strip().rstrip(".") for part in parts)
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in trimmed if part)


def one_line(text: str) -> str:
    """Return the text on one line; a space replaces consecutive unprintable characters."""
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
