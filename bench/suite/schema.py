"""The keys of a suite file, their types, ranges and defaults.

The validation context is a `References`; it knows the names of networks, data sets, distillers and
methods. Without a context, all names are accepted.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from bench.config.errors import Problem, Where
from bench.config.fields import (
    REFERENCE,
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
    error,
    known,
    shorthand,
    tag,
)
from bench.spec import Recipe

MAX_RUNS = 50_000  # students of one suite


class Part(BaseModel):
    """A mapping of the fields below and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeEntry(Recipe):
    """Keys of a recipe as a suite sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def over(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the keys that are set here."""
        return recipe.model_copy(update={k: getattr(self, k) for k in self.model_fields_set})


RecipeChanges = Annotated[RecipeEntry, allowed("a mapping of the keys of a recipe")]


class DataSet(Part):
    """A data set, or a subset of it."""

    name: Annotated[
        Text, known("data set"), allowed("the name of a data set, or folder:/path/to/images")
    ]
    per_class: Annotated[Count | None, allowed("a whole number of images, at least 1")] = None
    test_per_class: Annotated[Count | None, allowed("a whole number of images, at least 1")] = None
    validation: Natural = 0
    size: Annotated[
        Annotated[Whole, Ge(4), Le(4096)] | None, allowed("a whole number of pixels, 4 to 4096")
    ] = None

    @model_validator(mode="after")
    def _check_selection(self, info: ValidationInfo) -> "DataSet":
        if info.context and (message := info.context.invalid_selection(self.model_dump())):
            raise error(message, REFERENCE)
        return self


class CheckpointEntry(Part):
    """A trained teacher's file, and its promised properties."""

    path: Annotated[Text, allowed("a path, relative to the suite file")]
    sha256: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None,
        allowed("64 hex digits in lower case"),
    ] = None
    top1: Annotated[Percent | None, allowed("its test accuracy in percent, 0 to 100")] = None
    tolerance: Percent = 0.1


class Teachers(Part):
    """How teachers are trained; by default one of seed 0 for all students, as in the papers."""

    seed: Annotated[
        Annotated[Whole, Ge(0), Le(1_000_000), tag("number")]
        | Annotated[Literal["same"], tag("text")],
        by_type(number=int, text=str),
        allowed("a whole number, 0 or more, or same (as the student's)"),
    ] = 0
    recipe: RecipeChanges = RecipeEntry()
    checkpoints: Annotated[
        dict[Text, Annotated[CheckpointEntry, shorthand("path")]],
        allowed("a mapping of networks to a path or to {path, sha256, top1, tolerance}"),
    ] = {}


class PairEntry(Part):
    """One column of a table: teacher, student, changes of the student's recipe, table."""

    teacher: Network
    student: Network
    recipe: RecipeChanges = RecipeEntry()
    group: Annotated[Title | None, allowed("one line of text, at most 200 long")] = None


class TermEntry(BaseModel):
    """One summand of a method: its weight, and its distiller's options as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True)

    weight: AtLeast0

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside the weight."""
        return self.model_extra or {}


def _check_weights(terms: dict[str, TermEntry], info: ValidationInfo) -> dict[str, TermEntry]:
    if info.context and not any(term.weight for term in terms.values()):
        raise error("all weights are 0. Allowed: at least one weight above 0", REFERENCE)
    return terms


DistillerName = Annotated[Text, known("distiller"), allowed("the name of a distiller")]
Terms = Annotated[
    dict[
        DistillerName,
        Annotated[
            TermEntry, shorthand("weight"), allowed("a weight, or a mapping of weight and options")
        ],
    ],
    Len(1),
    AfterValidator(_check_weights),
]
MethodEntry = Annotated[
    Annotated[Terms, tag("terms")]
    | Annotated[Literal["papers"], tag("text")]
    | Annotated[None, tag("nothing")],
    by_type(terms=dict, text=str, nothing=type(None)),
    allowed("papers, or a mapping of distillers to a weight or to {weight, options}"),
]


class SuiteFile(Part):
    """A suite file."""

    suite_version: Annotated[Whole, Ge(1), Le(1), allowed("1")]
    title: Title
    caption: Annotated[
        str, StringConstraints(max_length=2000), allowed("a text, at most 2000 long")
    ] = ""
    dataset: Annotated[
        DataSet, shorthand("name"), allowed("the name of a data set, or {name, per_class, …}")
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
        dict[DistillerName, dict[Text, Any]],
        allowed("a mapping of distillers to {option: value}"),
    ] = {}
    plugins: Annotated[tuple[Text, ...], allowed("a list of paths of .py files")] = ()

    def conflicts(self) -> Iterator[Problem]:
        """Yield a problem for each recipe that is invalid with the suite's, and for many runs."""
        places: dict[Where, RecipeEntry] = {("recipe",): self.recipe}
        places["teachers", "recipe"] = self.teachers.recipe
        places |= {("pairs", i, "recipe"): pair.recipe for i, pair in enumerate(self.pairs)}
        message = "nesterov needs a momentum. Allowed: nesterov false, or a momentum above 0"
        for where, entry in places.items():
            recipe = entry.over(self.recipe)
            keys = {"nesterov", "momentum"} & entry.model_fields_set
            if recipe.nesterov and not recipe.momentum and keys:
                yield Problem((*where, min(keys)), message)
        runs = len(self.pairs) * len(self.methods) * len(self.seeds)
        if runs > MAX_RUNS:
            yield Problem(("methods",), f"found {runs:,} runs of students. Allowed: {MAX_RUNS:,}")
