"""A resolved suite: no short forms, every default filled in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.data import Selection
from bench.plugins import BUILTIN, Registry
from bench.spec import Recipe


@dataclass(frozen=True)
class Term:
    """A distiller's weight in a method, and the values of all its options."""

    weight: float
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A row of the table: a weighted sum of distillers."""

    name: str
    terms: Mapping[str, Term]  # by the distillers' names
    note: str | None = None  # marked in tables, e.g. "reconstruction"
    label: str = ""  # the name in the papers' tables; for a suite's own methods, their name


@dataclass(frozen=True)
class Checkpoint:
    """A trained teacher's file, and its promised properties."""

    path: Path  # absolute
    sha256: str
    top1: float | None  # promised test accuracy in percent; None: not promised
    tolerance: float  # percentage points


@dataclass(frozen=True)
class Teacher:
    """The network that a student learns from: trained, or read from the checkpoint."""

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
    group: str = ""  # not part of any run's id


@dataclass(frozen=True)
class Suite:
    """A resolved suite file.

    Attributes:
        name: The file's name without .yaml.
        title: Title of its tables.
        caption: Text below its tables.
        path: The file.
        data: Its images.
        recipe: The recipe before the changes of pairs and teachers.
        teacher_seed: Seed of all teachers, or `same` as the student's.
        seeds: Seeds of the students.
        pairs: Columns of its tables.
        methods: Rows of its tables.
        plugins: Absolute paths of its plugin files.
        origins: `suite:LINE`, `papers`, `default` or `command line`, by dotted places such as
            `recipe.lr` or `methods.crd.crd.negatives`.
        unused: Distillers in `options` that no method contains.
        registry: The distillers, networks and data sets that it can use.
        changes: Changes of the file's values, e.g. `recipe.epochs=2`.
    """

    name: str
    title: str
    caption: str
    path: Path
    data: Selection
    recipe: Recipe
    teacher_seed: int | Literal["same"]
    seeds: tuple[int, ...]
    pairs: tuple[Pair, ...]
    methods: tuple[Method, ...]
    plugins: tuple[Path, ...]
    origins: Mapping[str, str]
    unused: tuple[str, ...] = ()
    registry: Registry = BUILTIN
    changes: tuple[str, ...] = ()
