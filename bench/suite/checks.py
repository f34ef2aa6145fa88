"""Checks beyond the schema: names, duplicates and options; warnings about a valid suite."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from bench.config.loader import Document
from bench.config.text import Problem, Where, foreign, found, short
from bench.errors import nearest, unknown
from bench.plugins import TERM_KEYS, Registry
from bench.spec import PAPERS, SMALL_LR, SMALL_LR_STUDENTS
from bench.suite.controls import NAMES, SMOOTHING
from bench.suite.files import canonical, canonical_terms, default_label
from bench.suite.image_checks import check_images
from bench.suite.schema import PairEntry, Suite
from bench.suite.unchecked import as_mapping, as_name, unknown_name
from distillers import Declaration

MAX_PROBLEMS = 100  # limit for reported network names: finding the nearest match of each is slow
MIN_SEEDS = 3
_LIBRARIES = ("timm", "torchvision")
_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text"}
_BOUNDS = {Ge: "at least {0.ge}", Gt: "above {0.gt}", Le: "at most {0.le}", Lt: "below {0.lt}"}


def check(source: Document, registry: Registry) -> list[Problem]:
    """Return the problems that the schema misses: unknown names, duplicates, invalid options.

    Parts of the wrong type are skipped, because the schema already reports these parts.
    """
    problems = list(islice(_networks(source, registry), MAX_PROBLEMS))
    if len(problems) == MAX_PROBLEMS:
        message = f"only the first {MAX_PROBLEMS} unknown or duplicate names are listed"
        problems.append(Problem((), message))
    return [*problems, *check_images(source, registry), *_methods(source, registry)]


def _networks(source: Document, registry: Registry) -> Iterator[Problem]:
    """Yield problems: unknown networks, duplicate pairs, checkpoints of non-teacher networks."""
    yield from _duplicate_pairs(source)
    roles: dict[str, set[str]] = {"teacher": set(), "student": set()}
    pairs = source.data.get("pairs")
    for i, pair in enumerate(pairs if isinstance(pairs, list) else ()):
        where: Where = ("pairs", i)
        for role, used in roles.items():
            if name := as_name(as_mapping(pair).get(role)):
                used.add(name)
                if message := _unknown_network(name, registry):
                    yield Problem((*where, role), message)
    used = {name for names in roles.values() for name in names}
    for name in as_mapping(source.data.get("networks")) if used else ():
        if name not in used:
            yield Problem(("networks", name), unknown("network of a pair", name, map(short, used)))
    teachers = roles["teacher"]
    checkpoints = as_mapping(as_mapping(source.data.get("teachers")).get("checkpoints"))
    for name in checkpoints if teachers else ():
        if name not in teachers:
            where = ("teachers", "checkpoints", name)
            yield Problem(where, unknown("teacher", name, map(short, teachers)))


def _duplicate_pairs(source: Document) -> Iterator[Problem]:
    """Yield a problem for each pair that has the name of an earlier pair."""
    places: dict[str, Where] = {}
    pairs = source.data.get("pairs")
    for i, pair in enumerate(pairs if isinstance(pairs, list) else ()):
        where: Where = ("pairs", i)
        named = {k: v for k, v in as_mapping(pair).items() if k not in ("recipe", "group")}
        try:
            label = PairEntry.model_validate(named).label
        except ValidationError:
            continue  # the schema reports this pair
        if (first := places.setdefault(label, where)) != where:
            line = source.line_of(first)
            message = f"duplicate pair {short(label)}, first defined on line {line}"
            yield Problem(where, f"{message}. Allowed: another pair, or a new `name` for the pair")


def _methods(source: Document, registry: Registry) -> Iterator[Problem]:
    """Yield problems: duplicate or unknown methods, unknown distillers, invalid options."""
    shared = as_mapping(source.data.get("options"))
    for name, values in shared.items():
        yield from _term(registry, name, values, ("options", name))
    methods, places, labels = source.data.get("methods"), dict[str, Where](), {"Teacher": ""}
    has_controls = source.data.get("controls") is True
    for i, name in enumerate(methods if isinstance(methods, list | dict) else ()):
        where: Where = ("methods", i if isinstance(methods, list) else name)
        entry = methods[name] if isinstance(methods, dict) else None
        if not isinstance(name, str):
            continue
        terms = {k: v for k, v in as_mapping(entry).items() if k != "label"}
        label = as_mapping(entry).get("label", default_label(name, terms or canonical_terms(name)))
        label = label.strip() if isinstance(label, str) else label
        if isinstance(label, str) and labels.setdefault(label, name) != name:
            owner = f"method '{short(labels[label])}'" if labels[label] else "the teachers' row"
            message = f"has the label '{short(label)}' of {owner}"
            yield Problem(where, f"{message}. Allowed: a new `label` for this method")
        if has_controls and _is_of_control(name, entry, terms):
            message = f"'{name}' is the name of a control"
            yield Problem(where, f"{message}. Allowed: another name, or controls: false")
        if (first := places.setdefault(name, where)) != where:
            line = source.line_of(first)
            yield Problem(where, f"duplicate method '{short(name)}', first defined on line {line}")
        elif not terms and entry != {} and name not in canonical():
            yield Problem(where, unknown("method of the papers", short(name), canonical()))
        for term, content in terms.items():
            values = {k: v for k, v in as_mapping(content).items() if k not in TERM_KEYS}
            yield from _term(registry, term, values, (*where, term), as_mapping(shared.get(term)))
        weights = [as_mapping(term).get("weight", term) for term in terms.values()]
        if weights and not any(weight is not False and weight != 0 for weight in weights):
            yield Problem(where, "all weights are 0. Allowed: at least one weight above 0")


def _term(
    registry: Registry, name: str, values: Any, where: Where, shared: Any = None
) -> Iterator[Problem]:
    """Yield problems of a distiller's name and options.

    `shared` has the suite's options of this distiller for all methods. If `shared` is not None,
    required options that are neither in `values` nor in `shared` are problems, too.
    """
    names = registry.names("distiller")
    if as_name(name) and (message := unknown_name("distiller", name, names)):
        yield Problem(where, message)
    elif name in names and isinstance(values, dict):
        distiller = registry.declaration(name)
        yield from check_options(distiller, values, where)[1]
        for option, parameter in options(distiller).items():
            required = shared is not None and parameter.default is parameter.empty
            if required and option not in {**shared, **values}:
                message = f"missing. {distiller.__name__} requires this option"
                yield Problem((*where, option), message)


def _unknown_network(name: str, registry: Registry) -> str | None:
    """Return a message if no network has this name; None for a known name."""
    networks = registry.names("network")
    if name in networks or not name.isascii():
        return None if name in networks else foreign(name)
    library, colon, inner = name.partition(":")
    if not colon:
        message = unknown("network", short(name), networks)
        return f"{message}, timm:<name>, torchvision:<name>"
    if library not in _LIBRARIES:
        return unknown("library of networks", short(library), _LIBRARIES)
    names = library_networks(library)
    if inner in names:
        return None
    problem = f"no network '{short(inner)}' in {library}.{nearest(inner, names)}"
    return f"{problem} Allowed: the {len(names)} names of its list_models()"


@cache
def library_networks(library: str) -> Sequence[str]:
    """Return the names of a library's networks; the library is imported only in this call."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    from torchvision import models

    return list(models.list_models(module=models))


def options(distiller: type[Declaration]) -> dict[str, inspect.Parameter]:
    """Return a distiller's options by name: the constructor's parameters after `setting`."""
    _self, _setting, *rest = inspect.signature(distiller.__init__).parameters.values()
    return {p.name: p for p in rest if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def default_options(distiller: type[Declaration]) -> dict[str, Any]:
    """Return the default values of the options that have one."""
    return {k: p.default for k, p in options(distiller).items() if p.default is not p.empty}


def check_options(
    distiller: type[Declaration], values: Mapping[str, Any], where: Where
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the valid options, converted to their types, and a problem per invalid option."""
    parameters = options(distiller)
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
            problems.append(Problem((*where, name), _option_message(value, type_, error)))
    return valid, problems


def _is_of_control(name: str, entry: Any, terms: Mapping[str, Any]) -> bool:
    """Return whether a method has the name of a control, and other terms than the control."""
    differs = terms.keys() != canonical_terms(SMOOTHING).keys() and (terms or entry == {})
    return name in NAMES or (name == SMOOTHING and bool(differs))


def _convert(value: Any, type_: Any) -> Any:
    """Return the value as the type requires: an int becomes a float, a list becomes a tuple."""
    strict = ConfigDict(strict=True, arbitrary_types_allowed=True)
    try:
        adapter = TypeAdapter(type_, config=strict)
    except PydanticUserError:  # the type has its own configuration
        adapter = TypeAdapter(type_)
    return adapter.validate_json(json.dumps(value))


def _option_message(value: Any, type_: Any, error: ValidationError) -> str:
    if get_origin(type_) is Literal:
        choices = [str(arg) for arg in get_args(type_)]
        guess = nearest(value, choices) if isinstance(value, str) else ""
        return f"{found(value)}.{guess} Allowed: {', '.join(choices)}"
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Input should be ")
    kind = first["type"].removesuffix("_type")
    return f"{found(value)}. Allowed: {_range(type_) or _WORDS.get(kind, reason)}"


def allowed_values(type_: Any) -> str:
    """Describe the values of an option, such as `a whole number, at least 1`.

    Args:
        type_: The annotation of the option in the constructor of its distiller.
    """
    if get_origin(type_) is Literal:
        return ", ".join(map(str, get_args(type_)))
    return _range(type_) or _WORDS.get(getattr(type_, "__name__", ""), str(type_))


def _range(type_: Any) -> str:
    """Return a number's bounds, e.g. `a whole number, at least 1`; an empty text if unbounded."""
    kind, *limits = get_args(type_) if get_origin(type_) is Annotated else (None,)
    bounds = " and ".join(_BOUNDS[type(x)].format(x) for x in limits if type(x) in _BOUNDS)
    return f"{_WORDS[kind.__name__]}, {bounds}" if kind in (int, float) and bounds else ""


def warnings(suite: Suite) -> list[str]:
    """Return a message for each setting that is unused, or makes results hard to compare."""
    return list(_warnings(suite))


def _warnings(suite: Suite) -> Iterator[str]:
    if (count := len(suite.seeds)) < MIN_SEEDS:
        seeds = "1 seed is" if count == 1 else f"{count} seeds are"
        yield f"seeds: {seeds} too few to compare methods; the papers use 3 or 5"
    for name in suite.unused:
        yield f"options.{name}: no method of this suite contains {name}"
    for i, pair in enumerate(suite.pairs):
        if pair.student in SMALL_LR_STUDENTS and pair.recipe.lr != SMALL_LR:
            yield (
                f"pairs.{i}: {pair.student} is trained with lr {pair.recipe.lr:g}; the papers use "
                f"{SMALL_LR:g} (recipe: {{lr: {SMALL_LR:g}}})"
            )
    recipes = [recipe for pair in suite.pairs for recipe in (pair.recipe, pair.teacher.recipe)]
    stepped = [recipe for recipe in recipes if recipe.schedule == "step"]
    if late := {m for recipe in stepped for m in recipe.milestones if m >= recipe.epochs}:
        milestones = ", ".join(map(str, sorted(late)))
        yield f"recipe.milestones: training ends before {milestones}, so lr is not reduced there"
    if slow := {recipe.warmup for recipe in recipes if recipe.warmup > recipe.epochs}:
        warmups = ", ".join(map(str, sorted(slow)))
        yield f"recipe.warmup: training ends before epoch {warmups}, so lr is never reached"
    sizes = {pair.recipe.batch_size for pair in suite.pairs} - {PAPERS.batch_size}
    distiller = suite.registry.declaration
    methods = [m.name for m in suite.methods if any(distiller(x).relational for x in m.terms)]
    if sizes and methods:
        yield (
            f"recipe.batch_size: {', '.join(map(str, sorted(sizes)))}; the weights of "
            f"{', '.join(methods)} are for batches of {PAPERS.batch_size}, because these losses "
            "compare the samples of a batch"
        )
