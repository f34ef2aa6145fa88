"""Read and check the spaces of `tune`: the weights and options that trials may have."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from bench.config import fields
from bench.config.loader import Document
from bench.config.text import Problem, Where, count, found
from bench.errors import nearest, unknown
from bench.plugins import Registry
from bench.suite.checks import check_options, options
from bench.suite.files import canonical_terms
from bench.suite.tuning import (
    DEFAULT_TRIALS,
    DOMAIN,
    WEIGHT,
    Domain,
    Range,
    RangeEntry,
    Tune,
    TuneEntry,
)
from bench.suite.unchecked import as_list, as_mapping
from distillers import Declaration

LABELS = "ce"  # cross-entropy; a key that names no term is an option of the other term


def resolve(entry: TuneEntry, source: Document, registry: Registry) -> Tune:
    """Return the valid key `tune` of a suite file."""
    spaces = {
        method: {
            place: domain
            for where, place, content in _places(source, method, space)
            if (domain := _domain(content, where, place, registry)[0]) is not None
        }
        for method, space in entry.methods.items()
    }
    values = {name: value for name, value in entry if name != "methods"}
    return Tune(spaces, **values)


def check_tuning(source: Document, registry: Registry) -> Iterator[Problem]:
    """Yield problems of the key `tune`: unknown methods and options, impossible domains."""
    entry = as_mapping(source.data.get("tune"))
    used = source.data.get("methods")
    names = [name for name in [*as_list(used), *as_mapping(used)] if isinstance(name, str)]
    for method, space in as_mapping(entry.get("methods")).items():
        where: Where = ("tune", "methods", method)
        if method not in names:
            yield Problem(where, unknown("method of the suite", str(method), names))
            continue
        places: dict[str, Domain | None] = {}
        for at, place, content in _places(source, method, as_mapping(space)):
            if not place:
                terms = ", ".join(_terms(source, method))
                message = f"found an option without its distiller. Allowed: {{{terms}: {{…}}}}"
                yield Problem(at, message)
                continue
            if place in places:
                yield Problem(at, f"found {place} twice. Allowed: one domain for each option")
            places[place], problems = _domain(content, at, place, registry)
            yield from problems
        if entry.get("search") == "grid" and None not in places.values():
            yield from _grid(where, places, entry.get("trials", DEFAULT_TRIALS))


def _grid(where: Where, places: Mapping[str, Domain | None], trials: Any) -> Iterator[Problem]:
    """Yield a problem if a space has a range, or not `trials` combinations."""
    combinations = 1
    for place, domain in places.items():
        if not isinstance(domain, tuple):
            message = f"{place} has a range, but `search: grid` needs a list of values"
            yield Problem(where, message)
            return
        combinations *= len(domain)
    if isinstance(trials, int) and combinations != trials:
        message = (
            f"found {count(combinations, 'combination')} of values, but tune.trials is {trials}"
        )
        yield Problem(where, f"{message}. Allowed with `search: grid`: as many as trials")


def _terms(source: Document, method: str) -> list[str]:
    """Return the names of the distillers of a method of a suite."""
    entry = as_mapping(as_mapping(source.data.get("methods")).get(method))
    return [name for name in entry if name != "label"] or list(canonical_terms(method))


def _places(
    source: Document, method: str, space: Mapping[str, Any]
) -> Iterator[tuple[Where, str, Any]]:
    """Yield for each domain of a space its place in the file, its place in the method, its content.

    An option without a distiller belongs to the distiller with the method's name, else to the only
    distiller besides `ce`. If there is no such distiller, its place in the method is empty.
    """
    terms = _terms(source, method)
    others = [term for term in terms if term != LABELS]
    main = method if method in terms else others[0] if len(others) == 1 else ""
    where: Where = ("tune", "methods", method)
    for key, content in space.items():
        if key not in terms:
            yield (*where, key), f"{main}.{key}" if main else "", content
            continue
        for option, domain in as_mapping(content).items():
            yield (*where, key, option), f"{key}.{option}", domain
        if not as_mapping(content):
            yield (*where, key), f"{key}.{WEIGHT}", content


_range: TypeAdapter[RangeEntry] = TypeAdapter(RangeEntry)
_weight: TypeAdapter[float] = TypeAdapter(fields.AtLeast0)


def _domain(
    content: Any, where: Where, place: str, registry: Registry
) -> tuple[Domain | None, list[Problem]]:
    """Return the domain of a weight or an option, or None and its problems."""
    term, _, option = place.partition(".")
    if term not in registry.names("distiller"):
        return None, []  # other checks report this distiller
    distiller = registry.declaration(term)
    allowed = [WEIGHT, *options(distiller)]
    if option not in allowed:
        takes = f"{distiller.__name__} takes {', '.join(allowed)}"
        message = f"no option '{option}'.{nearest(option, allowed)} {takes}"
        return None, [Problem(where, message)]
    if isinstance(content, list) and content:
        checked = [_value(distiller, option, value, (*where, i)) for i, value in enumerate(content)]
        problems = [problem for _, messages in checked for problem in messages]
        values = tuple(value for value, _ in checked)
        if not problems and len({repr(value) for value in values}) < len(values):
            problems = [Problem(where, "found a value more than once. Allowed: different values")]
        return (None, problems) if problems else (values, [])
    try:
        entry = _range.validate_python(content)
    except ValidationError:
        return None, [Problem(where, f"{found(content)}. Allowed: {DOMAIN}")]
    if not entry.low < entry.high or (entry.log and entry.low <= 0):
        message = f"found {entry.low:g} to {entry.high:g}"
        return None, [Problem(where, f"{message}. Allowed: low below high; with log: low above 0")]
    integer = _is_whole(distiller, option)
    ends = (int(end) if integer and end == int(end) else end for end in (entry.low, entry.high))
    checks = zip(("low", "high"), ends, strict=True)
    problems = [p for key, end in checks for p in _value(distiller, option, end, (*where, key))[1]]
    return (None, problems) if problems else (Range(entry.low, entry.high, entry.log, integer), [])


def _value(
    distiller: type[Declaration], option: str, value: Any, where: Where
) -> tuple[Any, list[Problem]]:
    """Return a weight or an option, converted to its type, and its problems."""
    if option == WEIGHT:
        try:
            return _weight.validate_python(value), []
        except ValidationError:
            return None, [Problem(where, f"{found(value)}. Allowed: a number, 0 or more")]
    valid, problems = check_options(distiller, {option: value}, where[:-1])
    return valid.get(option), [Problem(where, problem.message) for problem in problems]


def _is_whole(distiller: type[Declaration], option: str) -> bool:
    """Return whether an option of a distiller is a whole number; a weight is not."""
    kind = inspect.get_annotations(distiller.__init__, eval_str=True).get(option)
    return (get_args(kind)[0] if get_origin(kind) is Annotated else kind) is int
