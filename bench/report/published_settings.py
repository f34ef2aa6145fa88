"""Published numbers of the papers' other experiments, read from results/published/settings.

The experiments are transfer by linear probes, ensembles, few samples, ImageNet and capacity gaps.
Many sources publish numbers of the same pair, with different recipes. Therefore a suite names, with
its key `published`, the source whose setting it reproduces. Numbers of transfer and ensembles are
also shown without this key.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING

from pydantic import BaseModel

from bench.report import labels, published
from bench.report.model import PublishedValue
from bench.spec import PROBE

if TYPE_CHECKING:
    from bench.data import Selection
    from bench.suite import Pair, Suite
    from bench.suite.measures import Probe

_FILES = ("transfer", "ensemble", "few_samples", "imagenet", "self_gap")
_UNNAMED = ("transfer", "ensemble")  # files whose numbers do not need the key `published`
_DATA = {"CIFAR-100": ("cifar100", 32), "CIFAR-10": ("cifar10", 32), "ImageNet": ("imagenet", 224)}
_TARGETS = {"STL-10": "stl10", "TinyImageNet": "tiny_imagenet"}
_METRICS = {"top1": "top1", "top1_err": "top1", "top5_err": "top5", "agreement": "agreement"}
_LINEAR, _GAIN = "linear_probe_top1", "gain_points"
_ANY = "(none)"  # the number belongs to a student without teacher, or to a teacher alone
_ALL_SIZES = "all ensemble sizes"
_RGB = "rgb"  # the view that does not change images
_PER_CLASS = 500  # training images of each class of CIFAR-100
_NAMES = {"takd": "kd"}  # TAKD is KD from an assistant, which the column `teacher` names
_NETWORKS = {  # printed names, by names in suites
    "mobilenet_v1": ("MobileNet-V1",),
    "timm:resnet50": ("ResNet-50", "ResNet-50-SB"),
    "timm:mobilenetv1_100": ("MobileNet-V1",),
    "timm:mobilenetv2_100": ("MobileNet-V2",),
    "timm:efficientnet_b0": ("EfficientNet-B0",),
    "timm:swin_tiny_patch4_window7_224": ("Swin-T",),
    "timm:swin_large_patch4_window7_224": ("Swin-L",),
    "torchvision:mobilenet_v2": ("MobileNet-V2",),
    "torchvision:efficientnet_b0": ("EfficientNet-B0",),
    "torchvision:swin_t": ("Swin-T",),
}
_DOUBTS = {  # why the numbers of a source are not comparable with ours
    "mdistiller": published.BEST_EPOCH,
    "torchdistill": published.BEST_EPOCH,
    "TAKD": "single run; its seed and hyperparameters were searched",
    "Yasar 2026 v2": "of the best checkpoint on validation images; ours is of the last epoch",
}
_QUOTING = {"TTM": ("WTTM",), "NORM": ("NORM", "Student (own)")}  # rows of the source itself
_REMARKS = {  # by file and source
    ("transfer", "CRD"): (
        "CRD does not state the optimiser, epochs, augmentation and batch norm of its linear probe"
    ),
    ("transfer", "DCD"): (
        "the table of DCD and RRD reprints CRD's rows; its own rows probably have another recipe"
    ),
    ("ensemble", "CRD"): (
        "CRD does not state how the members of its ensembles differ, nor the number of runs"
    ),
    ("few_samples", "HSAKD"): "HSAKD's teacher has auxiliary classifiers, trained on all images",
}


class SettingLine(BaseModel, frozen=True):
    """A line of a CSV file: one published number, or None if it exists only in a plot.

    The texts are those that the source prints, with the transcriber's remarks in brackets.
    """

    file: str
    source: str
    table: str
    setting: str
    teacher: str
    student: str
    method: str
    metric: str
    value: float | None
    std: float | None
    n: int | None
    read_where: str

    @property
    def key(self) -> str:
        """The value of a suite's key `published` that selects the line; empty if no value does."""
        return "" if "user" in self.source else self.source.split()[0].lower()

    @property
    def label(self) -> str:
        """The printed method name, without settings and remarks."""
        return re.sub(r"( \(.*\)| T=.*|, sum over teachers)$", "", self.method)

    @property
    def name(self) -> str:
        """The method's name in suites, or `teacher` or `student`."""
        name = published.name_in_suites(self.label)
        return _NAMES.get(name, name)

    @property
    def teacher_name(self) -> str:
        """The printed name of the teacher, such as `8 x WRN-16-2` or `resnet110->resnet20`."""
        return re.sub(r" \((?!own).*\)$", "", self.teacher)

    @property
    def is_reprint(self) -> bool:
        """Whether the source reprints the number of another source that is in the files, too."""
        return "reprint" in self.read_where

    @property
    def is_gain(self) -> bool:
        """Whether the number is a difference from the student, not an accuracy."""
        return self.metric == _GAIN

    @property
    def origin(self) -> str:
        """Source, table and number of runs, such as `CRD, Table 8 (n not stated)`."""
        source, table = self.source.split(" (")[0], self.table.split(" / ")[0]
        return f"{source}, {table} ({f'n = {self.n}' if self.n else 'n not stated'})"

    @property
    def doubt(self) -> str:
        """Why the number is not comparable with ours; usually empty."""
        doubts = [_DOUBTS.get(self.source, "")]
        if self.source in _QUOTING and self.method not in _QUOTING[self.source]:
            doubts.append(f"as quoted by {self.source}")
        if self.student == "MobileNet-V1":
            doubts.append("the plain MobileNet-V1 of other sources has 68.87, 69.63 or 70.13")
        return "; ".join(filter(None, doubts))

    @property
    def published(self) -> PublishedValue | None:
        """The number as a cell's published value; None if there is no number."""
        if self.value is None:
            return None
        mean = round(100 - self.value, 4) if self.metric.endswith("_err") else self.value
        return PublishedValue(mean, self.std, self.origin, self.doubt)


@dataclass(frozen=True)
class Match:
    """A published number that belongs to a pair of a suite and to a metric."""

    line: SettingLine
    pair: str
    metric: str


@dataclass(frozen=True)
class Numbers:
    """The published numbers of a suite.

    Attributes:
        main: Top-1 accuracies in CRD's and later papers' main tables, by pair and method.
        named: Numbers of the source in the suite's key `published`; preferred to all others.
        unnamed: Numbers that are shown without this key.
    """

    main: Mapping[tuple[str, str], published.Line]
    named: tuple[Match, ...]
    unnamed: tuple[Match, ...]

    def values(self, metric: str) -> dict[tuple[str, str], PublishedValue]:
        """Return the published values of a metric, by pair and method."""
        lines = self.lines(metric).items()
        return {key: line.published for key, line in lines if line.published}

    def lines(self, metric: str) -> dict[tuple[str, str], published.Line | SettingLine]:
        """Return the lines of the CSV files with the values of a metric, by pair and method."""
        main = self.main if metric == "top1" else {}
        return {**_lines(self.unnamed, metric), **main, **_lines(self.named, metric)}

    def notes(self, metric: str, pairs: Collection[str], methods: Collection[str]) -> list[str]:
        """Return the notes of a table.

        The notes list numbers that exist only in a plot, numbers of methods that the table does
        not have, and unknown parts of a source's protocol.

        Args:
            metric: Metric of the table.
            pairs: Names of the table's pairs.
            methods: Names of the table's methods, with `teacher` and `student`.
        """
        matches = [
            match
            for match in (*self.named, *self.unnamed)
            if match.pair in pairs and match.metric == metric
        ]
        values = self.values(metric)
        plots: dict[str, dict[str, None]] = {}
        others: dict[str, dict[str, None]] = {}
        for match in matches:
            line = match.line
            if line.value is None and line.name in methods:
                if (match.pair, line.name) not in values:
                    plots.setdefault(line.origin, {})[f"{line.label} on {match.pair}"] = None
            elif line.value is not None and line.name not in methods and match in self.named:
                others.setdefault(line.origin, {})[f"{_printed(line)} on {match.pair}"] = None
        shown = {(m.line.file, m.line.source): None for m in matches if m.line.name in methods}
        return [
            *(
                f"{o}: only in a plot, so not shown: {'; '.join(cells)}"
                for o, cells in plots.items()
            ),
            *(f"{o} also has: {'; '.join(cells)}" for o, cells in others.items()),
            *(remark for key, remark in _REMARKS.items() if key in shown),
        ]


@cache
def lines() -> tuple[SettingLine, ...]:
    """Return all transcribed numbers, in the order of the files.

    Raises:
        BenchError: The folder of the transcribed files is missing.
    """
    return tuple(line for name in _FILES for line in _read(name))


def numbers(suite: "Suite") -> Numbers:
    """Return the published numbers of a suite."""
    usual = suite.teacher_data in (None, suite.data)
    main = published.published_lines(suite.data.spec) if usual else {}
    plain = {
        (pair.name, method): line
        for pair in suite.pairs
        if _is_usual(pair, suite) and pair.teacher.members == 1 and pair.teacher.student_of is None
        for (networks, method), line in main.items()
        if networks == pair.networks
    }
    selected = [line for line in lines() if line.key and not line.is_reprint]
    named = [line for line in selected if line.key == suite.published]
    unnamed = [line for line in selected if line.file in _UNNAMED and line not in named]
    return Numbers(
        plain,
        *(
            tuple(match for line in some for match in _matches(line, suite))
            for some in (named, unnamed)
        ),
    )


def _matches(line: SettingLine, suite: "Suite") -> Iterator[Match]:
    """Yield a match for each pair and metric of a suite to which a number belongs."""
    if not _is_data(line, suite):
        return
    metrics = ["top1" if line.is_gain else _METRICS.get(line.metric, "")]
    if line.metric == _LINEAR:
        probes = [probe for probe in suite.probes if _is_linear(probe)]
        metrics = [f"{PROBE}{p.name}.top1" for p in probes if _is_target(line, p.data)]
    for pair in suite.pairs:
        if _is_pair(line, pair, suite):
            yield from (Match(line, pair.name, metric) for metric in metrics if metric)


def _is_data(line: SettingLine, suite: "Suite") -> bool:
    """Return whether students and teachers have exactly the images of a published number."""
    data = suite.data
    match = re.search(r"CIFAR-100?\b|(?<!Tiny-)\bImageNet", line.setting)
    if match is None:
        return False
    name, size = _DATA[match[0]]
    share = re.match(r"(\d+) % of", line.setting)
    per_class = int(share[1]) * _PER_CLASS // 100 if share else _PER_CLASS
    teachers = suite.teacher_data or data
    if not _is_selection(teachers, (name, None), size):
        return False  # teachers are trained on all images, even if students have few
    return _is_selection(data, (name, per_class if per_class < _PER_CLASS else None), size)


def _is_linear(probe: "Probe") -> bool:
    """Return whether a probe is a linear classifier on pooled features of a frozen network."""
    return probe.kind in ("logistic", "sgd") and probe.features == "pooled"


def _is_target(line: SettingLine, data: "Selection") -> bool:
    """Return whether a probe has exactly the images of a published number."""
    target = re.search(r"->(\S+) at 32x32$", line.setting)
    return target is not None and _is_selection(data, (_TARGETS[target[1]], None), 32)


def _is_selection(data: "Selection", expected: tuple[str, int | None], size: int) -> bool:
    """Return whether images have the expected data set, number per class and size.

    All test images must be selected, and no validation images. `expected` is the name of the data
    set and the number of training images per class (None: all).
    """
    others = data.test_per_class, data.validation, data.split
    is_expected = (data.name, data.per_class) == expected and others == (None, 0, "train")
    return is_expected and data.size in (None, size)


def _is_pair(line: SettingLine, pair: "Pair", suite: "Suite") -> bool:
    """Return whether a published number belongs to a pair."""
    members, teacher = pair.teacher.members, line.teacher_name
    if not _is_usual(pair, suite):
        return False
    if line.file == "ensemble" and pair.teacher.network != pair.student:
        return False
    fits = teacher == _ANY or teacher in _teachers(pair, suite)
    fits = fits or (members > 1 and teacher.startswith(_ALL_SIZES))
    return fits and (line.student == _ANY or line.student in _networks(pair.student, suite))


def _is_usual(pair: "Pair", suite: "Suite") -> bool:
    """Return whether both networks see unchanged images, and the student starts untrained."""
    started = pair.student in suite.pretrained or pair.student in suite.init
    return pair.view == pair.teacher.view == _RGB and not started


def _teachers(pair: "Pair", suite: "Suite") -> set[str]:
    """Return the printed names of a pair's teacher, such as `8 x WRN-16-2` for an ensemble."""
    teacher, names = pair.teacher, _networks(pair.teacher.network, suite)
    if teacher.student_of is not None:
        before = next(each for each in suite.pairs if each.name == teacher.student_of[0])
        return {f"{first}->{name}" for first in _teachers(before, suite) for name in names}
    return {f"{teacher.members} x {name}" for name in names} if teacher.members > 1 else names


def _networks(name: str, suite: "Suite") -> set[str]:
    """Return a network's printed names; networks of libraries have names only on ImageNet."""
    if ":" not in name:
        return {labels.network(name), *_NETWORKS.get(name, ())}
    if suite.data.name != "imagenet":
        return set()
    resnet = re.fullmatch(r"(?:timm|torchvision):resnet(\d+)", name)
    return {*_NETWORKS.get(name, ()), *([f"ResNet-{resnet[1]}"] if resnet else [])}


def _lines(matches: Collection[Match], metric: str) -> dict[tuple[str, str], SettingLine]:
    """Return the lines of a metric by pair and method; of several numbers, the first."""
    lines: dict[tuple[str, str], SettingLine] = {}
    for match in matches:
        line = match.line
        if match.metric == metric and line.published and not line.is_gain:
            lines.setdefault((match.pair, line.name), line)
    return lines


def _printed(line: SettingLine) -> str:
    """Return a method's label and number, such as `HSAKD* 68.50 ± 0.24`."""
    if line.is_gain and line.value is not None:
        return f"{line.label} {labels.signed(line.value, 2)} points over the student"
    value = line.published
    number = labels.METRICS["top1"].mean_std(value.mean, value.std) if value else ""
    return f"{line.label} {number}"


def _read(name: str) -> Iterator[SettingLine]:
    path = published.folder() / PurePath("settings", f"{name}.csv")
    for row in published.read_rows(path, ("value", "std", "n")):
        yield SettingLine.model_validate(row | {"file": name})
