"""Parts of a suite file that several of its keys have: data sets and changes of recipes."""

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict

from bench.config import fields
from bench.config.fields import allowed
from bench.config.text import found
from bench.spec import NEEDS, Recipe

NO_EFFECT = {"momentum": "0", "nesterov": "false", "milestones": "[]", "min_lr": "0"}


class Part(BaseModel):
    """A mapping that may contain only the fields of its class."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeEntry(Recipe):
    """The recipe keys that one place of a suite sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def over(self, recipe: Recipe) -> Recipe:
        """Return `recipe` with the keys of this entry replaced; keys without effect are not set."""
        return Recipe(**recipe.model_dump() | self.model_dump(exclude_unset=True)).reduced

    def contradictions(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Yield a key that this entry sets, and a message, for each contradiction over `recipe`."""
        values = Recipe(**recipe.model_dump() | self.model_dump(exclude_unset=True))
        keys = self.model_fields_set
        if values.nesterov and not values.momentum and keys & {"nesterov", "momentum"}:
            message = "nesterov needs a momentum. Allowed: nesterov false, or a momentum above 0"
            yield min(keys & {"nesterov", "momentum"}), message
        for key in sorted(values.unused & keys & NO_EFFECT.keys()):
            if value := getattr(values, key):
                other, needed = NEEDS[key]
                message = f"{found(value)} with {other}: {getattr(values, other)}"
                yield key, f"{message}. Allowed: {other}: {needed}, or {key}: {NO_EFFECT[key]}"
        if values.min_lr > values.lr and keys & {"min_lr", "lr"}:
            message = f"min_lr {values.min_lr:g} is above lr {values.lr:g}"
            yield max(keys & {"min_lr", "lr"}), f"{message}. Allowed: a min_lr from 0 to lr"


RecipeChanges = Annotated[RecipeEntry, allowed("a mapping of the keys of a recipe")]
Images = Annotated[fields.Count | None, allowed("a whole number of images, at least 1")]


class DataSet(Part):
    """A data set, or a subset of it."""

    name: Annotated[fields.Text, allowed("the name of a data set, or folder:/path/to/images")]
    per_class: Images = None
    test_per_class: Images = None
    validation: fields.Natural = 0
    size: Annotated[
        Annotated[fields.Whole, Ge(4), Le(4096)] | None,
        allowed("a whole number of pixels, 4 to 4096"),
    ] = None


DataSetEntry = Annotated[
    DataSet, fields.shorthand("name"), allowed("the name of a data set, or {name, per_class, …}")
]
