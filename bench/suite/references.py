"""Names in a suite: whether networks, data sets, distillers, methods and options exist."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from bench import data
from bench.config.errors import Problem, Where
from bench.config.overrides import ChangedDocument
from bench.config.text import foreign, short
from bench.data.folder import PREFIX
from bench.errors import BenchError, MissingData, nearest, unknown
from bench.plugins import Registry
from bench.suite import options
from bench.suite.builtin import canonical

MAX_PROBLEMS = 100  # unknown names that are reported; the search for the nearest match is slow
_LIBRARIES = ("timm", "torchvision")


class References:
    """The names that a suite can use: the context of its validation.

    Attributes:
        unknown_networks: Number of unknown networks; from `MAX_PROBLEMS` on all are accepted.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.unknown_networks = 0

    def unknown(self, kind: str, name: str) -> str | None:
        """Return a message if no network, data set or distiller has this name; else None."""
        match kind:
            case "network":
                message = self._unknown_network(name)
                self.unknown_networks += message is not None
                return message
            case "data set":
                allowed = [*self.registry.names("dataset"), f"{PREFIX}/path/to/images"]
                exists = name in allowed or name.startswith(PREFIX)
            case _:
                allowed = self.registry.names("distiller")
                exists = name in allowed
        return None if exists else foreign(name) or unknown(kind, short(name), allowed)

    def invalid_selection(self, fields: Mapping[str, Any]) -> str | None:
        """Return a message if a data set does not have such a subset; else None."""
        try:
            data.facts(data.Selection(**fields), None, self.registry.datasets)
        except BenchError as error:
            return None if isinstance(error, MissingData) else str(error)
        return None

    def _unknown_network(self, name: str) -> str | None:
        networks = self.registry.names("network")
        if name in networks or self.unknown_networks >= MAX_PROBLEMS:
            return None
        if message := foreign(name):
            return message
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
    """Return the names of a library's networks; import it only when a suite needs it."""
    if library == "timm":
        import timm

        names: list[str] = timm.list_models()
        return names
    from torchvision import models

    return list(models.list_models(module=models))


def check(source: ChangedDocument, references: References) -> list[Problem]:
    """Return the problems that pydantic cannot see: duplicates, and references between parts.

    Parts of the wrong type are skipped; the schema reports them.
    """
    problems = list(islice(_duplicates(source), MAX_PROBLEMS))
    if MAX_PROBLEMS in (len(problems), references.unknown_networks):
        message = f"only the first {MAX_PROBLEMS} unknown or duplicate names are listed"
        problems.append(Problem((), message))
    return [*problems, *_methods(source, references.registry)]


def _duplicates(source: ChangedDocument) -> Iterator[Problem]:
    """Yield duplicate pairs, and checkpoints of networks that are not a teacher."""
    teachers: set[str] = set()
    places: dict[tuple[str, str], Where] = {}
    pairs = source.data.get("pairs")
    for i, pair in enumerate(pairs if isinstance(pairs, list) else ()):
        teacher, student = map(_mapping(pair).get, ("teacher", "student"))
        if not isinstance(teacher, str) or not teacher:
            continue
        teachers.add(teacher)
        where: Where = ("pairs", i)
        if isinstance(student, str) and places.setdefault((teacher, student), where) != where:
            line = source.document.line_of(places[teacher, student])
            name = short(f"{teacher}/{student}")
            yield Problem(where, f"duplicate pair {name}, first defined on line {line}")
    checkpoints = _mapping(_mapping(source.data.get("teachers")).get("checkpoints"))
    for name in checkpoints if teachers else ():
        if name not in teachers:
            message = unknown("teacher", name, map(short, teachers))
            yield Problem(("teachers", "checkpoints", name), message)


def _methods(source: ChangedDocument, registry: Registry) -> Iterator[Problem]:
    """Yield duplicate and unknown methods, and invalid options."""
    shared = _mapping(source.data.get("options"))
    for name, values in shared.items():
        yield from _options(registry, name, values, ("options", name), None)
    methods, places = source.data.get("methods"), dict[str, Where]()
    keys = methods if isinstance(methods, list | dict) else ()
    for i, name in enumerate(keys):
        where: Where = ("methods", i if isinstance(methods, list) else name)
        entry = methods[name] if isinstance(methods, dict) else None
        if not isinstance(name, str):
            continue
        if (first := places.setdefault(name, where)) != where:
            line = source.document.line_of(first)
            message = f"duplicate method '{short(name)}', first defined on line {line}"
            yield Problem(where, message)
        elif entry in (None, "papers") and name not in canonical():
            yield Problem(where, unknown("canonical method", short(name), canonical()))
        for term, content in _mapping(entry).items():
            values = {k: v for k, v in _mapping(content).items() if k != "weight"}
            yield from _options(registry, term, values, (*where, term), _mapping(shared.get(term)))


def _options(
    registry: Registry, name: str, values: Any, where: Where, shared: Mapping[str, Any] | None
) -> Iterator[Problem]:
    """Yield the invalid options of a distiller; with `shared` ones, the missing options too."""
    if name in registry.names("distiller") and isinstance(values, dict):
        distiller = registry.distiller(name)
        yield from options.check(distiller, values, where)[1]
        required = [] if shared is None else options.required(distiller)
        for option in required:
            if option not in {**(shared or {}), **values}:
                message = f"missing. {distiller.__name__} requires this option"
                yield Problem((*where, option), message)


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, dict) else {}
