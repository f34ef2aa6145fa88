"""Names of metrics, networks, data sets and recipes in tables, and the format of numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
        unit: `%`, `nats`, or empty for a number without a unit.
        digits: Digits after the decimal point.
        higher: Whether higher is better.
        teacher: Whether teachers have the metric; false for a comparison of student and teacher.
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
        better = f"{'higher' if self.higher else 'lower'} is better"
        return f"{self.phrase} ({'; '.join(filter(None, (self.unit, better)))})"

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: `points` for percentages, `units` without a unit, or `unit`."""
        return {"%": "points", "": "units"}.get(self.unit, self.unit)

    @property
    def default_tolerance(self) -> float | None:
        """The largest difference that counts as zero by default; None: no default."""
        return TOLERANCE_POINTS if self.unit == "%" else None

    def tolerance(self, value: float | None) -> float:
        """Return a valid tolerance: the largest difference that counts as zero.

        Args:
            value: The tolerance, in the metric's unit; None: the metric's default, or 0 if it has
                no default.

        Raises:
            BenchError: The tolerance is negative, infinite or NaN.
        """
        tolerance = (self.default_tolerance or 0.0) if value is None else value
        if not 0 <= tolerance < float("inf"):
            unit = f" in {self.unit}" if self.unit else ""
            raise BenchError(f"tolerance {value}. Allowed: a number{unit}, 0 or more")
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
_ACCURACY = "top-1 accuracy"
MEASURED = (  # metrics of measures: pattern of the name, measure, and the metric's other fields
    (r"(probe\.(.+))\.top1", Metric("", f"{_ACCURACY} of the probe {{}} on its test images")),
    (r"(probe\.(.+))\.balanced", Metric("", "mean test accuracy of the classes of the probe {}")),
    (r"(probe\.(.+))\.oracle", Metric("", f"oracle: the best {_ACCURACY} of any epoch of the "
     "probe {}, chosen on its test images")),
    (r"(probe\.(.+))\.stage(\d+)", Metric("", f"{_ACCURACY} of the probe {{}} on stage {{}}")),
    (r"(corrupted)\.top1", Metric("", f"{_ACCURACY} on corrupted test images")),
    (r"(corrupted)\.nll", Metric("", "NLL on corrupted test images", "nats", 3, False)),
    (r"(corrupted)\.ece", Metric("", "calibration error (ECE) on corrupted test images",
     higher=False)),
    (r"(corrupted)\.(\w+)", Metric("", f"{_ACCURACY} on test images corrupted by {{}}")),
    (r"(cifar100_c)\.top1", Metric("", f"{_ACCURACY} on CIFAR-100-C")),
    (r"(cifar100_c)\.nll", Metric("", "NLL on CIFAR-100-C", "nats", 3, False)),
    (r"(cifar100_c)\.ece", Metric("", "calibration error (ECE) on CIFAR-100-C", higher=False)),
    (r"(cifar100_c)\.(\w+)", Metric("", f"{_ACCURACY} on CIFAR-100-C, {{}}")),
    (r"(cka)", Metric("", "linear CKA with the teacher, pooled features", "", 3, teacher=False)),
    (r"(cka)\.stage(\d+)", Metric("", "linear CKA with the teacher, stage {}", "", 3,
     teacher=False)),
    (r"()ace", Metric("", "adaptive calibration error on the test set", higher=False)),
    (r"()ece_scaled", Metric("", "calibration error (ECE) after temperature scaling",
     higher=False)),
    (r"()nll_scaled", Metric("", "NLL after temperature scaling", "nats", 3, False)),
    (r"(teacher_in_top5)", Metric("", "test images whose class, as the teacher predicts it, is "
     "among the student's first five", teacher=False)),
    (r"(classes)\.mean", Metric("", "mean test accuracy of the classes")),
    (r"(classes)\.worst", Metric("", "test accuracy of the worst class")),
    (r"(agreement_floor)", Metric("", "agreement of two seeds of the same method on the test set",
     teacher=False)),
)  # fmt: skip
_NETWORKS = {
    "resnet50": "ResNet50",
    "mobilenet_v1": "MobileNetV1",
    "mobilenet_v2": "MobileNetV2",
    "shufflenet_v1": "ShuffleNetV1",
    "shufflenet_v2": "ShuffleNetV2",
}
_DATA = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "imagenet": "ImageNet",
    "stl10": "STL-10",
    "tiny_imagenet": "Tiny ImageNet",
    "digits": "scikit-learn's digits",
}
_RECIPE = {"epochs": "{} epochs", "batch_size": "batch {}", "lr": "lr {}"}
_RECIPE_CHANGES = {"optimizer": "{}", "schedule": "{} schedule"}  # omitted if as in the papers


def metric(name: str, others: Iterable[str] = ()) -> Metric:
    """Return the metric of this name.

    Args:
        name: A name of `METRICS`, or of a metric of a measure, such as `probe.stl10.top1`.
        others: Names of the suite's measured metrics, for the message.

    Raises:
        BenchError: The name is unknown; the message suggests the most similar name.
    """
    if (metric := known(name)) is None:
        raise BenchError(unknown("metric", name, [*METRICS, *others]))
    return metric


def known(name: str) -> Metric | None:
    """Return the metric of this name; None for an unknown name."""
    if name in METRICS:
        return METRICS[name]
    for pattern, fields in MEASURED:
        if match := re.fullmatch(pattern, name):
            return replace(fields, name=name, phrase=fields.phrase.format(*match.groups()[1:]))
    return None


def measure_of(name: str) -> str:
    """Return the name of the measure that has a metric: `probe.stl10` or `cka`; '' if none."""
    matches = (re.fullmatch(pattern, name) for pattern, _ in MEASURED)
    match = next(filter(None, matches), None)
    return (match[1] or "calibration") if match else ""


def network(name: str) -> str:
    """Return a network's name as the papers print it (`WRN-40-2`); other names stay unchanged."""
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


@dataclass(frozen=True)
class Caption:
    """The sentences of a table's caption; in JSON, one text.

    Attributes:
        metric: The sentence about the metric.
        introduction: The sentences before it.
        details: The sentences after it.
        compact: The details in a table that shows means only.
    """

    metric: str = ""
    introduction: str = ""
    details: str = ""
    compact: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.introduction, self.metric, self.details)))


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
