"""What a suite file may say: its keys, their types and ranges, and their defaults.

Names of networks, data sets and distillers are only text here; which there are is checked later.
"""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict, StringConstraints

from bench.config.fields import (
    AtLeast0,
    Count,
    Label,
    Natural,
    Network,
    Percent,
    Seeds,
    Text,
    Title,
    Whole,
    allowed,
    by_type,
    instead,
    tag,
)
from bench.spec import Recipe


class Part(BaseModel):
    """A mapping in which only the fields below may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeEntry(Recipe):
    """Keys of a recipe as a suite sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


RecipeChanges = Annotated[RecipeEntry, allowed("a mapping of the keys of a recipe")]


class DataSet(Part):
    """Which images: the official split, unless a subset of it is asked for."""

    name: Annotated[Text, allowed("the name of a data set, or folder:/path/to/images")]
    per_class: Annotated[Count | None, allowed("a whole number of images, at least 1")] = None
    test_per_class: Annotated[Count | None, allowed("a whole number of images, at least 1")] = None
    validation: Natural = 0
    size: Annotated[
        Annotated[Whole, Ge(4), Le(4096)] | None, allowed("a whole number of pixels, 4 to 4096")
    ] = None


class CheckpointEntry(Part):
    """A trained teacher's file, and what it must be."""

    path: Annotated[Text, allowed("a path, relative to the suite file")]
    sha256: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None,
        allowed("64 hex digits in lower case"),
    ] = None
    top1: Annotated[Percent | None, allowed("its test accuracy in percent, 0 to 100")] = None
    tolerance: Percent = 0.1


class Teachers(Part):
    """How teachers come to be; by default one of seed 0 for all students, as in the papers."""

    seed: Annotated[
        Annotated[Natural, tag("number")] | Annotated[Literal["same"], tag("text")],
        by_type(number=int, text=str),
        allowed("a whole number, 0 or more, or same (as the student's)"),
    ] = 0
    recipe: RecipeChanges = RecipeEntry()
    checkpoints: Annotated[
        dict[Text, Annotated[CheckpointEntry, instead("path")]],
        allowed("a mapping of networks to a path or to {path, sha256, top1, tolerance}"),
    ] = {}


class PairEntry(Part):
    """One column of the table: who teaches whom, and what is special in the student's recipe."""

    teacher: Network
    student: Network
    recipe: RecipeChanges = RecipeEntry()


class TermEntry(BaseModel):
    """One summand of a method: its weight, and as further keys its distiller's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    weight: AtLeast0


Weighted = Annotated[TermEntry, instead("weight")]
Terms = Annotated[dict[Text, Weighted], Len(1)]
MethodEntry = Annotated[
    Annotated[Terms, tag("terms")]
    | Annotated[Literal["papers"], tag("text")]
    | Annotated[None, tag("nothing")],
    by_type(terms=dict, text=str, nothing=type(None)),
]


class SuiteFile(Part):
    """The whole file."""

    suite_version: Annotated[Whole, Ge(1), Le(1), allowed("1")]
    title: Title
    caption: Annotated[
        str, StringConstraints(max_length=2000), allowed("a text, at most 2000 long")
    ] = ""
    dataset: Annotated[
        DataSet, instead("name"), allowed("the name of a data set, or {name, per_class, …}")
    ]
    recipe: RecipeChanges = RecipeEntry()
    teachers: Annotated[Teachers, allowed("a mapping of seed, recipe, checkpoints")] = Teachers()
    seeds: Seeds = (0, 1, 2)
    pairs: Annotated[tuple[PairEntry, ...], Len(1), allowed("a list of {teacher: …, student: …}")]
    methods: Annotated[
        Annotated[list[Label], Len(1), tag("list")]
        | Annotated[dict[Label, MethodEntry], Len(1), tag("mapping")],
        by_type(list=list, mapping=dict),
        allowed("a list of canonical methods, or a mapping of methods to {distiller: weight}"),
    ]
    options: Annotated[
        dict[Text, dict[Text, Any]], allowed("a mapping of distillers to {option: value}")
    ] = {}
    plugins: Annotated[tuple[Text, ...], allowed("a list of paths of .py files")] = ()
