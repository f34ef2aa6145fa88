"""A suite's data against the schema: each difference as a sentence at its place."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bench.config.errors import Mistake, Where, found
from bench.config.fields import TAGGED
from bench.config.text import short
from bench.errors import nearest

Model = TypeVar("Model", bound=BaseModel)

_NAME = "a name of letters, digits and _ . + -, at most 60 long"
_METHOD = "papers, or a mapping of distillers to a weight or to {weight, options}"
_TERM = "a weight, or a mapping of weight and options"


def shaped(data: Mapping[str, Any], model: type[Model]) -> tuple[Model | None, list[Mistake]]:
    """The data as a file of this model, or None and all that keeps it from being one."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    places = [_where(detail) for detail in details]
    around = {at[:depth] for at in places for depth in range(len(at))}
    mistakes = []
    for detail, where in zip(details, places, strict=True):
        if not (where in around and detail["type"] == "too_short"):  # items were wrong, not too few
            mistakes.append(Mistake(_written(where, detail, data), _sentence(detail, where, model)))
    return None, mistakes


def _where(detail: ErrorDetails) -> Where:
    """The place of an error, without the tags of alternatives."""
    places = detail["loc"]
    if _of_key(detail):
        places = places[:-1]
    return tuple(part for part in places if not str(part).startswith(TAGGED))


def _of_key(detail: ErrorDetails) -> bool:
    """Whether not the value of a key is wrong, but the key: pydantic says so in the last place."""
    return detail["loc"][-1:] == ("[key]",) and detail["type"] != "extra_forbidden"


def _written(where: Where, detail: ErrorDetails, data: Any) -> Where:
    """The same place as the user wrote it: a short form has no key below it."""
    for depth, part in enumerate(where[:-1]):
        data = data[part]
        if not isinstance(data, dict | list):
            return where[: depth + 1]
    return where


def _sentence(detail: ErrorDetails, where: Where, model: type[BaseModel]) -> str:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        *_, last = _models(where[:-1], model)
        keys = list(last.model_fields)
        key = short(str(where[-1]))
        return f"no key '{key}'.{nearest(key, keys)} Allowed: {', '.join(keys)}"
    allowed = _allowed(where, detail, model)
    if kind == "missing":
        return f"missing. Allowed: {allowed}"
    own = detail["msg"] if kind in ("finite", "twice", "order", "lines") else None
    what = own or (_found_text(given) if kind == "string_too_long" else found(given))
    if kind == "too_short":
        what = "found nothing in it"
    guess = nearest(given, allowed.split(", ")) if isinstance(given, str) and not own else ""
    return f"{what}.{guess} Allowed: {allowed}"


def _found_text(given: str) -> str:
    return f"found a text of {len(given)} characters"


def _allowed(where: Where, detail: ErrorDetails, model: type[BaseModel]) -> str:
    """The description of the field that the place belongs to."""
    if where[0] == "methods":
        if _of_key(detail) or detail["loc"][-2:-1] == (f"{TAGGED}list",):
            return _NAME
        if len(where) == 2:
            return _METHOD
        if len(where) == 3:
            return _TERM
    *_, field = _fields(where, model)
    return str(field.description)


def _fields(where: Where, model: type[BaseModel]) -> Iterator[FieldInfo]:
    """The fields on the way to a place."""
    for part in where:
        field = model.model_fields.get(str(part))
        if field is not None:
            yield field
            model = next(_inside(field.annotation), model)


def _models(where: Where, model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models on the way to a place."""
    yield model
    for field in _fields(where, model):
        yield from _inside(field.annotation)


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)
