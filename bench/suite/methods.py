"""The methods of a suite: canonical ones from distillers/methods.yaml, and its own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter, ValidationError

import distillers
from bench.config import loader
from bench.config.errors import Mistake, Where
from bench.config.overrides import Source
from bench.config.text import short
from bench.errors import unknown
from bench.plugins import Registry
from bench.suite import options
from bench.suite.resolved import Method, Term
from bench.suite.schema import TermEntry, Weighted
from distillers import Distiller

Entry = Mapping[str, TermEntry]

_term: TypeAdapter[TermEntry] = TypeAdapter(Weighted)
_terms: TypeAdapter[dict[str, TermEntry]] = TypeAdapter(dict[str, Weighted])


@dataclass
class Resolution:
    """Methods, the origin of each of their values, and what is wrong with them."""

    methods: list[Method] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    unused: tuple[str, ...] = ()


@cache
def canonical() -> dict[str, dict[str, Any]]:
    """The methods of the papers' tables by name, in their order: their label, terms, source."""
    text = files("distillers").joinpath("methods.yaml").read_text("utf-8")
    return loader.parse(text, "distillers/methods.yaml").data


def papers(name: str) -> dict[str, Term]:
    """The terms of a canonical method, its weights and all options the papers'; else none."""
    entry = canonical().get(name)
    if entry is None:
        return {}
    found = {}
    for term, given in _terms.validate_python(entry["terms"]).items():
        distiller = distillers.load(term)
        values, _ = options.checked(distiller, given.model_extra or {}, ())
        found[term] = Term(given.weight, options.defaults(distiller) | values)
    return found


def resolve(source: Source, registry: Registry) -> Resolution:
    """All methods that a suite's data names; what is ill-shaped is left to the schema."""
    found = Resolution()
    shared = _shared(source, registry, found)
    named: dict[str, Where] = {}
    for name, where, entry in _entries(source.data.get("methods")):
        if name in named:
            line = source.document.line_of(named[name])
            sentence = f"'{short(name)}' stands twice, first in line {line}"
            found.mistakes.append(Mistake(where, sentence))
            continue
        named[name] = where
        if entry is None and name not in canonical():
            sentence = unknown("canonical method", short(name), canonical())
            found.mistakes.append(Mistake(where, sentence))
            continue
        maker = _Maker(source, registry, found, shared, name, where)
        found.methods.append(maker.method(entry))
        found.origins[f"methods.{name}"] = source.origin(where)
    used = {term for method in found.methods for term in method.terms}
    found.unused = tuple(name for name in shared if name not in used)
    return found


def _entries(methods: Any) -> Iterator[tuple[str, Where, Entry | None]]:
    """Each well-shaped method with its place, and its terms unless it is a canonical one."""
    if isinstance(methods, list):
        for i, name in enumerate(methods):
            if isinstance(name, str):
                yield name, ("methods", i), None
    elif isinstance(methods, dict):
        for name, entry in methods.items():
            if entry is None or entry == "papers":
                yield name, ("methods", name), None
            elif isinstance(entry, dict):
                yield name, ("methods", name), dict(_well_shaped(entry))


def _well_shaped(terms: Mapping[str, Any]) -> Iterator[tuple[str, TermEntry]]:
    for name, term in terms.items():
        try:
            yield name, _term.validate_python(term)
        except ValidationError:
            yield name, TermEntry(weight=1.0)  # so that its name is looked at


def _shared(source: Source, registry: Registry, found: Resolution) -> dict[str, dict[str, Any]]:
    """The options that hold for every method, by distiller."""
    shared: dict[str, dict[str, Any]] = {}
    asked = source.data.get("options")
    for name, given in asked.items() if isinstance(asked, dict) else ():
        distiller = _distiller(registry, name, ("options", name), found)
        if distiller and isinstance(given, dict):
            values, mistakes = options.checked(distiller, given, ("options", name))
            shared[name] = values
            found.mistakes += mistakes
    return shared


def _distiller(
    registry: Registry, name: str, where: Where, found: Resolution
) -> type[Distiller] | None:
    try:
        return registry.distiller(name)
    except KeyError:
        found.mistakes.append(
            Mistake(where, unknown("distiller", name, registry.names("distiller")))
        )
        return None


@dataclass
class _Maker:
    """Makes one method."""

    source: Source
    registry: Registry
    found: Resolution
    shared: Mapping[str, Mapping[str, Any]]
    name: str
    where: Where

    def method(self, entry: Entry | None) -> Method:
        """The method of an entry of the suite, or for None the canonical one of that name."""
        own = entry is not None
        papers = canonical().get(self.name, {})
        terms, notes = {}, []
        if entry is None:
            entry = _terms.validate_python(papers["terms"])
        for name, given in entry.items():
            distiller = _distiller(self.registry, name, (*self.where, name), self.found)
            if distiller:
                terms[name] = self.term(name, distiller, given, own=own)
                notes.append(distiller.note)
        if terms and not any(term.weight for term in terms.values()):
            sentence = "all weights are 0. Allowed: at least one weight above 0"
            self.found.mistakes.append(Mistake(self.where, sentence))
        note = "; ".join(dict.fromkeys(filter(None, notes)))
        return Method(self.name, terms, note or None, papers.get("label", self.name))

    def term(self, name: str, distiller: type[Distiller], given: TermEntry, *, own: bool) -> Term:
        """The term with all its options: the suite's before the papers' before the defaults."""
        at: Where = (*self.where, name) if own else ()
        values, mistakes = options.checked(distiller, given.model_extra or {}, at)
        self.found.mistakes += mistakes

        def where_from(key: str) -> str:
            return self.source.origin((*at, key)) if own else "papers"

        default = {key: (value, "default") for key, value in options.defaults(distiller).items()}
        here = {key: (value, where_from(key)) for key, value in values.items()}
        shared = {
            key: (value, self.source.origin(("options", name, key)))
            for key, value in self.shared.get(name, {}).items()
        }
        merged = default | shared | here if own else default | here | shared
        for key in options.missing(distiller, merged):
            sentence = f"missing. {distiller.__name__} cannot do without this option"
            self.found.mistakes.append(Mistake((*self.where, name, key), sentence))
        ordered = {key: merged[key] for key in options.options(distiller) if key in merged}
        place = f"methods.{self.name}.{name}"
        self.found.origins[f"{place}.weight"] = where_from("weight")
        self.found.origins |= {f"{place}.{key}": origin for key, (_, origin) in ordered.items()}
        return Term(given.weight, {key: value for key, (value, _) in ordered.items()})
