"""The options of a distiller: its constructor's signature is their schema."""

import inspect
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from bench.config.errors import Mistake, Where, found
from bench.errors import nearest
from distillers import Distiller

Kind = type[Distiller]

_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
}
_NUMBERS = {int: "a whole number", float: "a number"}
_BOUNDS = {Ge: "at least {0.ge}", Gt: "above {0.gt}", Le: "at most {0.le}", Lt: "below {0.lt}"}


def options(distiller: Kind) -> dict[str, inspect.Parameter]:
    """What a suite may set, by name: the arguments of the constructor after the setting."""
    _self, _setting, *rest = inspect.signature(distiller.__init__).parameters.values()
    return {p.name: p for p in rest if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def defaults(distiller: Kind) -> dict[str, Any]:
    """The options that need not be set, with their values."""
    found_ = options(distiller)
    return {name: p.default for name, p in found_.items() if p.default is not p.empty}


def checked(
    distiller: Kind, given: Mapping[str, Any], where: Where
) -> tuple[dict[str, Any], list[Mistake]]:
    """The given options with values of the declared types, and a mistake for each that is not."""
    known = options(distiller)
    types = inspect.get_annotations(distiller.__init__, eval_str=True)
    values, mistakes = {}, []
    for name, value in given.items():
        if name not in known:
            mistakes.append(Mistake((*where, name), _unknown(distiller, name, known)))
            continue
        try:
            values[name] = _typed(value, types.get(name, Any))
        except ValidationError as error:
            sentence = _wrong(value, types[name], error)
            mistakes.append(Mistake((*where, name), sentence))
    return values, mistakes


def missing(distiller: Kind, given: Mapping[str, Any]) -> list[str]:
    """Options without a default that were not given."""
    return [name for name in options(distiller) if name not in {**defaults(distiller), **given}]


def _typed(value: Any, type_: Any) -> Any:
    """The value as the type has it (an int as a float, a list as a tuple), never converted."""
    strict = ConfigDict(strict=True, arbitrary_types_allowed=True)
    try:
        adapter = TypeAdapter(type_, config=strict)
    except PydanticUserError:  # a type that brings its own configuration
        adapter = TypeAdapter(type_)
    return adapter.validate_json(json.dumps(value))


def _unknown(distiller: Kind, name: str, known: Mapping[str, Any]) -> str:
    takes = ", ".join(known) or "no options"
    return f"no option '{name}'.{nearest(name, known)} {distiller.__name__} takes {takes}"


def _wrong(value: Any, type_: Any, error: ValidationError) -> str:
    first = error.errors()[0]
    if get_origin(type_) is Literal:
        names = [str(arg) for arg in get_args(type_)]
        guess = nearest(value, names) if isinstance(value, str) else ""
        return f"{found(value)}.{guess} Allowed: {', '.join(names)}"
    sentence = first["msg"].removeprefix("Input should be ")
    return f"{found(value)}. Allowed: {_range(type_) or _WORDS.get(first['type'], sentence)}"


def _range(type_: Any) -> str:
    """A number with bounds in words, `a whole number, at least 1 and at most 8`; else nothing."""
    kind, *limits = get_args(type_) if get_origin(type_) is Annotated else (None,)
    bounds = [_BOUNDS[type(limit)].format(limit) for limit in limits if type(limit) in _BOUNDS]
    return f"{_NUMBERS[kind]}, {' and '.join(bounds)}" if kind in _NUMBERS and bounds else ""
