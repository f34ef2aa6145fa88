"""The options of a distiller: its constructor's signature is their schema."""

import inspect
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from bench.config.errors import Problem, Where, found
from bench.errors import nearest
from distillers import Distiller

_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
}
_NUMBERS = {int: "a whole number", float: "a number"}
_BOUNDS = {Ge: "at least {0.ge}", Gt: "above {0.gt}", Le: "at most {0.le}", Lt: "below {0.lt}"}


def names(distiller: type[Distiller]) -> dict[str, inspect.Parameter]:
    """Return the parameters that a suite may set: all after the setting."""
    _self, _setting, *rest = inspect.signature(distiller.__init__).parameters.values()
    return {p.name: p for p in rest if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def defaults(distiller: type[Distiller]) -> dict[str, Any]:
    """Return the default values of the options that have one."""
    return {k: p.default for k, p in names(distiller).items() if p.default is not p.empty}


def required(distiller: type[Distiller]) -> list[str]:
    """Return the options without a default value."""
    return [name for name, p in names(distiller).items() if p.default is p.empty]


def check(
    distiller: type[Distiller], values: Mapping[str, Any], where: Where
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the valid options with values of the declared types, and a problem for each other."""
    parameters = names(distiller)
    types = inspect.get_annotations(distiller.__init__, eval_str=True)
    valid, problems = {}, []
    for name, value in values.items():
        type_ = types.get(name, Any)
        if name not in parameters:
            takes = f"{distiller.__name__} takes {', '.join(parameters) or 'no options'}"
            message = f"no option '{name}'.{nearest(name, parameters)} {takes}"
            problems.append(Problem((*where, name), message))
            continue
        try:
            valid[name] = _convert(value, type_)
        except ValidationError as error:
            problems.append(Problem((*where, name), _message(value, type_, error)))
    return valid, problems


def _convert(value: Any, type_: Any) -> Any:
    """Return an int as a float, a list as a tuple, where the type asks for it; else unchanged."""
    strict = ConfigDict(strict=True, arbitrary_types_allowed=True)
    try:
        adapter = TypeAdapter(type_, config=strict)
    except PydanticUserError:  # a type with a configuration of its own
        adapter = TypeAdapter(type_)
    return adapter.validate_json(json.dumps(value))


def _message(value: Any, type_: Any, error: ValidationError) -> str:
    if get_origin(type_) is Literal:
        choices = [str(arg) for arg in get_args(type_)]
        guess = nearest(value, choices) if isinstance(value, str) else ""
        return f"{found(value)}.{guess} Allowed: {', '.join(choices)}"
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Input should be ")
    return f"{found(value)}. Allowed: {_range(type_) or _WORDS.get(first['type'], reason)}"


def _range(type_: Any) -> str:
    """Return a bounded number in words: `a whole number, at least 1 and at most 8`; or nothing."""
    kind, *limits = get_args(type_) if get_origin(type_) is Annotated else (None,)
    bounds = [_BOUNDS[type(limit)].format(limit) for limit in limits if type(limit) in _BOUNDS]
    return f"{_NUMBERS[kind]}, {' and '.join(bounds)}" if kind in _NUMBERS and bounds else ""
