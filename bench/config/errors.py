"""Problems in plain data: the place, what was found there, what is allowed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bench.config.fields import CUSTOM, REFERENCE, TAGGED
from bench.config.text import short
from bench.errors import nearest

Where = tuple[str | int, ...]  # a place in plain data, e.g. ("pairs", 0, "teacher")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One error at a place in the data."""

    where: Where
    message: str
    line: int | None = None  # None: the line of the place

    def __str__(self) -> str:
        """`path: message`, without a path for the document itself."""
        return f"{dotted(self.where)}: {self.message}" if self.where else self.message


def dotted(where: Where) -> str:
    """Return a place as messages and `--set` write it: `pairs.0.teacher`."""
    return ".".join(short(str(part)) for part in where)


def found(data: object) -> str:
    """Return `found the text 'x'`, `found the number 3`, `found a list` and the like."""
    match data:
        case None:
            return "found nothing"
        case bool():
            return f"found {str(data).lower()}"
        case int() | float():
            return f"found the number {data}"
        case str():
            return f"found the text '{short(data)}'"
    return f"found a {'list' if isinstance(data, list | tuple) else 'mapping'}"


def validate(
    data: Mapping[str, Any], model: type[Model], context: Any = None
) -> tuple[Model | None, list[Problem]]:
    """Validate plain data.

    Args:
        data: The data of a document.
        model: What the data must be; the description of each field says what is allowed.
        context: The names that `fields.known` accepts; None: it accepts all.

    Returns:
        The model, or None and every problem of the data.
    """
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    places = [_place(detail) for detail in details]
    parents = {place[:depth] for place in places for depth in range(len(place))}
    problems = [
        Problem(_as_written(place, data), _message(detail, place, model))
        for detail, place in zip(details, places, strict=True)
        if not (place in parents and detail["type"] == "too_short")  # its items were invalid
    ]
    return None, list(dict.fromkeys(problems))


def _place(detail: ErrorDetails) -> Where:
    """Return the place of an error, without the tags of alternatives."""
    parts = detail["loc"][:-1] if _is_of_key(detail) else detail["loc"]
    return tuple(part for part in parts if not str(part).startswith(TAGGED))


def _is_of_key(detail: ErrorDetails) -> bool:
    """Return whether the key is invalid, not its value: pydantic appends `[key]` to the place."""
    return detail["loc"][-1:] == ("[key]",) and detail["type"] != "extra_forbidden"


def _as_written(place: Where, data: Any) -> Where:
    """Return the place in the user's data, where a short form has no keys."""
    for depth, part in enumerate(place[:-1]):
        data = data[part]
        if not isinstance(data, dict | list):
            return place[: depth + 1]
    return place


def _message(detail: ErrorDetails, place: Where, model: type[BaseModel]) -> str:
    kind, value, guess = detail["type"], detail["input"], ""
    if kind == REFERENCE:
        return detail["msg"]
    allowed, keys = _allowed(model, detail["loc"])
    if kind == "extra_forbidden":
        key = short(str(place[-1]))
        return f"no key '{key}'.{nearest(key, keys)} Allowed: {', '.join(keys)}"
    if kind == "missing":
        problem = "missing"
    elif kind == CUSTOM:
        problem = detail["msg"]
    elif kind == "too_short":
        problem = f"found an empty {'mapping' if isinstance(value, dict) else 'list'}"
    elif isinstance(value, str):
        too_long = kind == "string_too_long"
        problem = f"found a text of {len(value)} characters" if too_long else found(value)
        guess = nearest(value, allowed.split(", "))
    else:
        problem = found(value)
    return f"{problem}.{guess} Allowed: {allowed}"


def _allowed(model: type[BaseModel], loc: Where) -> tuple[str, list[str]]:
    """Return the innermost description on the way to a place, and the innermost model's keys."""
    description, keys = "", []
    for step in _steps(model, loc):
        if isinstance(step, FieldInfo):
            description = step.description or description
        elif isinstance(step, type) and issubclass(step, BaseModel):
            keys = list(step.model_fields)
    return description, keys


def _steps(kind: Any, loc: Where) -> Iterator[Any]:
    """Yield the types and fields on the way to a place, as pydantic reports it."""
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
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and loc[0] in kind.model_fields:
        yield from _steps(kind.model_fields[str(loc[0])], loc[1:])
