"""A suite with everything resolved: no short forms, no defaults left to fill in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.data import Selection
from bench.plugins import BUILTIN, Registry
from bench.spec import Recipe


@dataclass(frozen=True)
class Term:
    """A distiller's weight in a method, and all of its options, defaults filled in."""

    weight: float
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A row of the table: a weighted sum of distillers."""

    name: str
    terms: Mapping[str, Term]  # by the distillers' names
    note: str | None = None  # a caveat that tables mark, e.g. "reconstruction"
    label: str = ""  # as papers print the name; a suite's own methods have their name


@dataclass(frozen=True)
class Checkpoint:
    """A trained teacher's file, and what it promises to be."""

    path: Path  # absolute
    sha256: str
    top1: float | None  # test accuracy in percent; None: not promised
    tolerance: float  # percentage points


@dataclass(frozen=True)
class Teacher:
    """A network to learn from: trained by the recipe, or read from the checkpoint."""

    network: str
    recipe: Recipe
    checkpoint: Checkpoint | None


@dataclass(frozen=True)
class Pair:
    """A column of a table; pairs of different groups are in different tables."""

    name: str  # "resnet32x4/resnet8x4"
    teacher: Teacher
    student: str
    recipe: Recipe  # the student's
    group: str | None = None  # not part of any run's id


@dataclass(frozen=True)
class Suite:
    """What a suite file asks for.

    `origins` maps dotted places, e.g. `recipe.lr` or `methods.crd.crd.negatives`, to
    "suite:LINE", "papers", "default" or "command line".
    """

    name: str  # the file's name without .yaml
    title: str
    caption: str
    path: Path
    data: Selection
    recipe: Recipe  # before what pairs and teachers change in it
    teacher_seed: int | Literal["same"]
    seeds: tuple[int, ...]
    pairs: tuple[Pair, ...]
    methods: tuple[Method, ...]
    plugins: tuple[Path, ...]  # absolute
    origins: Mapping[str, str]
    unused: tuple[str, ...] = ()  # distillers of `options` that no method contains
    registry: Registry = BUILTIN  # all names that the suite can use
    changes: tuple[str, ...] = ()  # `recipe.epochs=2`, as laid over the file
