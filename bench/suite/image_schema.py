"""The keys of a suite that choose its images: data sets and views."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict

from bench.config import fields
from bench.config.fields import allowed
from bench.data.views import RGB, VIEWS


class Part(BaseModel):
    """A mapping that may contain only the fields of its class."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    split: Annotated[Literal["train", "unlabelled"], allowed("train, unlabelled")] = "train"


DataSetEntry = Annotated[
    DataSet, fields.shorthand("name"), allowed("the name of a data set, or {name, per_class, …}")
]


def _channels(entry: Any) -> Any:
    """Return the view `channels: [0, 2]` as `channels:0+2`, and other entries unchanged."""
    numbers = entry.get("channels") if isinstance(entry, dict) and len(entry) == 1 else None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        return entry
    return f"channels:{'+'.join(map(str, numbers))}"


ViewName = Annotated[
    fields.Text, BeforeValidator(_channels), allowed(f"{', '.join(VIEWS)}, or a modality")
]


class ViewsEntry(Part):
    """What the teacher and the student see of each image."""

    teacher: ViewName = RGB
    student: ViewName = RGB


Views = Annotated[ViewsEntry, allowed("a mapping of teacher and student to a view")]
