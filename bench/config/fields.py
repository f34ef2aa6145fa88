"""Types of values in configuration files, and validation with a message for each problem.

The description of a type is the text after `Allowed:` in an error message.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import ErrorDetails, PydanticCustomError, ValidationError, core_schema

from bench.config.text import Problem, Where, found, short
from bench.errors import nearest

MAX_SEEDS = 1000
Model = TypeVar("Model", bound=BaseModel)
TAGGED = "\0"  # first character of each tag that `tag` makes; not allowed in a user's key
CUSTOM = "custom"  # the pydantic error type of the checks in this module
_PROBLEMS = {"missing": "missing", "finite_number": "found a number that is not finite"}
_RANGES = re.compile(r" *\d{1,9} *(- *\d{1,9} *)?(, *\d{1,9} *(- *\d{1,9} *)?)*", re.ASCII)


def distinct(items: Sequence[Hashable]) -> Any:
    """Return the items; refuse duplicates."""
    duplicate = next((item for item in items if items.count(item) > 1), None)
    if duplicate is not None:
        raise PydanticCustomError(CUSTOM, f"found {duplicate} more than once")
    return items


def _increasing(items: Sequence[int]) -> Any:
    if any(b <= a for a, b in zip(items, items[1:], strict=False)):
        raise PydanticCustomError(CUSTOM, "found numbers that do not increase")
    return items


def _one_line(text: str) -> str:
    if "\n" in text.strip():
        raise PydanticCustomError(CUSTOM, "found several lines")
    return text.strip()


def _expand(value: Any) -> Any:
    """Return the text `0-2, 5` as [0, 1, 2, 5], and any other value unchanged."""
    if not isinstance(value, str) or not _RANGES.fullmatch(value):
        return value
    seeds: list[int] = []
    for part in value.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not low <= high < low + MAX_SEEDS or len(seeds) > MAX_SEEDS:
            return value
        seeds += range(low, high + 1)
    return seeds


@dataclass(frozen=True)
class ShortForm:
    """A validator that replaces a short form of a value, with the JSON Schema of the short form.

    Attributes:
        expand: Returns the full form of a short form, and any other value unchanged.
        schema: Returns the JSON Schema of the short form, from that of the full form.
    """

    expand: Callable[[Any], Any]
    schema: Callable[[JsonSchemaValue], JsonSchemaValue]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        full = handler(schema)
        return {"anyOf": [self.schema(handler.resolve_ref_schema(full)), full]}


def shorthand(key: str) -> ShortForm:
    """Return a validator that replaces a text or number v by the mapping {key: v}."""
    return ShortForm(
        lambda v: {key: v} if isinstance(v, str | int | float) else v,
        lambda full: dict(full["properties"][key]),
    )


def true_for_defaults() -> ShortForm:
    """Return a validator that replaces `true` by {}, which stands for the defaults of all keys."""
    return ShortForm(lambda v: {} if v is True else v, lambda _: {"const": True})


def by_type(**kinds: type) -> Discriminator:
    """Return a discriminator that chooses a tagged alternative by the value's Python type."""
    return Discriminator(
        lambda v: next((TAGGED + k for k, t in kinds.items() if type(v) is t), None)
    )


def tag(kind: str) -> Tag:
    """Return the tag that marks an alternative for `by_type`."""
    return Tag(TAGGED + kind)


def allowed(description: str, *examples: Any) -> Any:
    """Return a field with a description of the values that a user may write, and examples."""
    values: dict[str, Any] = {"examples": [*examples]} if examples else {}
    return Field(description=description, **values)


def examples(*values: Any) -> Any:
    """Return a field with examples of values."""
    return Field(examples=[*values])


Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Label = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}$"),
    allowed("a name of letters, digits and _ . + -, at most 60 characters"),
]

Count = Annotated[Whole, Ge(1), Le(1_000_000), allowed("a whole number, at least 1")]
BatchSize = Annotated[
    Whole,
    Ge(2),
    Le(1_000_000),
    allowed("a whole number, at least 2: batch norm and some losses need two images"),
]
Natural = Annotated[Whole, Ge(0), Le(1_000_000), allowed("a whole number, 0 or more")]
Positive = Annotated[Number, Gt(0), allowed("a number above 0")]
AtLeast0 = Annotated[Number, Ge(0), allowed("a number, 0 or more")]
Momentum = Annotated[Number, Ge(0), Lt(1), allowed("a number from 0 to below 1")]
Factor = Annotated[Number, Gt(0), Le(1), allowed("a number above 0 and at most 1")]
Share = Annotated[Number, Ge(0), Lt(1), allowed("a number from 0 to below 1")]
Probability = Annotated[Number, Ge(0), Le(1), allowed("a number from 0 to 1")]
Magnitude = Annotated[Whole, Ge(0), Le(30), allowed("a whole number from 0 (off) to 30")]
Percent = Annotated[Number, Ge(0), Le(100), allowed("a percentage, 0 to 100")]
Truth = Annotated[bool, Field(strict=True), allowed("true or false")]
Title = Annotated[Text, allowed("one line of at most 200 characters")]
Network = Annotated[Text, allowed("the name of a network")]
Epochs = Annotated[
    tuple[Annotated[Whole, Ge(1)], ...],
    AfterValidator(_increasing),
    allowed("a list of increasing whole numbers, e.g. [150, 180, 210]"),
]
Seeds = Annotated[
    tuple[Annotated[Whole, Ge(0), Le(2**31)], ...],
    Len(1, MAX_SEEDS),
    AfterValidator(distinct),
    ShortForm(_expand, lambda _: {"type": "string", "pattern": f"^{_RANGES.pattern}$"}),
    allowed("a list of whole numbers such as [0, 1, 2], or a range 0-2; at most 1000"),
]


def validate(data: Mapping[str, Any], model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """Check plain data against a schema.

    Args:
        data: The data of a document.
        model: The schema of the data; the description of each field names the allowed values.

    Returns:
        The validated model and an empty list, or None and all problems of the data.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    places = [_place(detail) for detail in details]
    parents = {place[:depth] for place in places for depth in range(len(place))}
    problems = [
        Problem(_as_written(place, data), _message(detail, place, model))
        for detail, place in zip(details, places, strict=True)
        if not (place in parents and detail["type"] == "too_short")  # items are invalid
    ]
    return None, list(dict.fromkeys(problems))


def _place(detail: ErrorDetails) -> Where:
    """Return the place of an error in the data, without the tags of `tag`."""
    loc = detail["loc"]
    if loc[-1:] == ("[key]",) and detail["type"] != "extra_forbidden":  # the key is invalid
        loc = loc[:-1]
    return tuple(part for part in loc if not str(part).startswith(TAGGED))


def _as_written(place: Where, data: Any) -> Where:
    """Return the place as the user wrote it: a short form such as `kd: 0.9` has no inner keys."""
    for depth, part in enumerate(place[:-1]):
        data = data[part]
        if not isinstance(data, dict | list):
            return place[: depth + 1]
    return place


def _message(detail: ErrorDetails, place: Where, model: type[BaseModel]) -> str:
    kind, value, guess = detail["type"], detail["input"], ""
    allowed, keys = _allowed(model, detail["loc"])
    if kind == "extra_forbidden":
        key = short(str(place[-1]))
        return f"no key '{key}'.{nearest(key, keys)} Allowed: {', '.join(keys)}"
    if kind in _PROBLEMS:
        problem = _PROBLEMS[kind]
    elif kind == CUSTOM:
        problem = detail["msg"]
    elif kind == "string_too_long":
        problem = f"found a text of {len(value)} characters"
    else:
        problem = found(value)
        choices = re.split(", | or ", allowed)
        if isinstance(value, str):
            is_quoted = value in choices
            guess = " Write it without quotes." if is_quoted else nearest(value, choices)
    return f"{problem}.{guess} Allowed: {allowed}"


def _allowed(model: type[BaseModel], loc: Where) -> tuple[str, list[str]]:
    """Return the allowed values at a place in words, and the keys of the innermost mapping."""
    description, keys = "", []
    for step in _steps(model, loc):
        if isinstance(step, FieldInfo):
            description = step.description or description
        elif isinstance(step, type) and issubclass(step, BaseModel):
            keys = list(step.model_fields)
    return description, keys


def _steps(kind: Any, loc: Where) -> Iterator[Any]:
    """Yield the types and fields from `kind` down to `loc`, the place that pydantic reports."""
    yield kind
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, FieldInfo):
        yield from _steps(kind.annotation, loc)
    elif origin is Annotated:
        yield from (item for item in args[1:] if isinstance(item, FieldInfo))
        yield from _steps(args[0], loc)
    elif not loc:
        return
    elif origin in (Union, UnionType):
        tagged = [arm for arm in args if any(item == Tag(str(loc[0])) for item in get_args(arm))]
        yield from _steps(tagged[0], loc[1:]) if tagged else _steps(args[0], loc)
    elif origin is dict:
        yield from _steps(args[0 if loc[1:] == ("[key]",) else 1], loc[1:])
    elif origin in (list, tuple):
        yield from _steps(args[0], loc[1:])
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        named = {field.alias or name: field for name, field in kind.model_fields.items()}
        if loc[0] in named:
            yield from _steps(named[str(loc[0])], loc[1:])
