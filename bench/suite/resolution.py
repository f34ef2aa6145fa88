"""Turn a valid suite file into a `Suite`: fill in defaults, and store the origin of each value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import distillers
from bench.config.loader import Document
from bench.config.text import Where, dotted
from bench.data import Selection
from bench.data.base import PREFIX
from bench.data.views import RGB
from bench.plugins import Registry
from bench.spec import TermSpec
from bench.suite.checks import check_options, default_options, options
from bench.suite.controls import CONTROLS_OF, with_controls
from bench.suite.files import canonical_pairs, canonical_terms, default_label
from bench.suite.measures import Probe
from bench.suite.parts import DataSet, OwnMethod, TermEntry
from bench.suite.schema import (
    Checkpoint,
    InitialWeights,
    Method,
    Pair,
    PairEntry,
    Suite,
    SuiteFile,
    Teacher,
)
from bench.suite.spaces import resolve
from distillers import Declaration
from distillers.declaration import has_head

HEAD_NOTE = (  # in tables, for methods with a head
    "predicts with a head of its own instead of the student's classifier: more parameters and "
    "multiply-adds than the student"
)
FLOOR = "agreement_floor"  # the measure that is a control
UNTRAINED_NOTE = "not trained: the student with its initial weights"
DEFAULTS: dict[Where, str | None] = {  # by part of the file: the origin of unset values
    ("recipe",): "papers",
    ("teachers",): "papers",
    ("teachers", "recipe"): None,
}


@dataclass
class Resolver:
    """Build the `Suite` of one suite file.

    Attributes:
        path: The suite's file.
        source: The file's data, with `--set` changes.
        file: The same data, validated.
        registry: The distillers, networks and data sets that the suite can use.
        checkpoints: The teachers' checkpoints by network.
        init: The files of initial weights by network.
        origins: The origin of each value, by dotted place such as `recipe.lr`.
    """

    path: Path
    source: Document
    file: SuiteFile
    registry: Registry
    checkpoints: Mapping[str, Checkpoint]
    init: Mapping[str, InitialWeights]
    origins: dict[str, str] = field(default_factory=dict)

    def suite(self, plugins: tuple[Path, ...]) -> Suite:
        """Return the resolved suite; `plugins` are its plugin files."""
        file = self.file
        self._note((), file, "default")
        for network, entry in file.teachers.checkpoints.items():
            self._note(("teachers", "checkpoints", network), entry, "default")
        for network in file.networks:
            self._note(("networks", network), file.networks[network])
            for option in file.networks[network].options:
                at = ("networks", network, "options", option)
                self.origins[dotted(at)] = self.source.origin(at)
        # before the suite's own methods, whose origins replace those of the same names
        usual = [self._method(name) for name in CONTROLS_OF] if file.controls else []
        methods = tuple(self._methods())
        if file.controls:
            methods = tuple(with_controls(methods, usual, self.registry))
        terms = {term for method in methods for term in method.terms}
        return Suite(
            name=self.path.stem,
            title=file.title,
            caption=file.caption.strip(),
            path=self.path,
            data=self._data(file.dataset),
            teacher_data=self._teacher_data(),
            views={role: view for role, view in file.views if view != RGB},
            recipe=file.recipe.reduced,
            teacher_seed=file.teachers.seed,
            seeds=file.every_seed,
            settling=file.settling,
            pairs=tuple(self._pair(i) for i in range(len(file.pairs))),
            methods=methods,
            plugins=plugins,
            origins=self.origins,
            unused=tuple(name for name in file.options if name not in terms),
            registry=self.registry,
            stages={name: entry.stages for name, entry in file.networks.items() if entry.stages},
            combine=file.ensemble.combine,
            pretrained=tuple(name for name, entry in file.networks.items() if entry.pretrained),
            init=self.init,
            changes=tuple(change.text for change in self.source.changes),
            published=file.published or "",
            probes=tuple(self._probes()),
            evaluate=self._evaluate(),
            tune=resolve(file.tune, self.source, self.registry) if file.tune else None,
            controls=file.controls,
        )

    def _probes(self) -> Iterator[Probe]:
        for name, entry in self.file.probes.items():
            self._note(("probes", name), entry)
            yield entry.resolved(name, self._data(entry.dataset))

    def _evaluate(self) -> dict[str, dict[str, Any]]:
        settings = self.file.evaluate.settings
        for name in settings:
            at = ("evaluate", name)
            self.origins[dotted(at)] = self.source.origin(at)
        if self.file.controls and len(self.file.every_seed) > 1 and FLOOR not in settings:
            settings[FLOOR] = {}
            self.origins[dotted(("evaluate", FLOOR))] = self.source.origin(("controls",))
        return settings

    def _data(self, dataset: DataSet) -> Selection:
        """Return the selection; folders relative to the suite file become absolute paths."""
        selection = Selection(**dataset.model_dump())
        folder = self.path.parent / selection.name.removeprefix(PREFIX)
        if selection.name.startswith(PREFIX) and selection.name != PREFIX and folder.is_dir():
            return replace(selection, name=f"{PREFIX}{folder.resolve()}")
        return selection

    def _teacher_data(self) -> Selection | None:
        if (entry := self.file.teachers.dataset) is not None:
            return self._data(entry)
        data = self._data(self.file.dataset)
        return None if data.split == "train" else replace(data, split="train")

    def _pair(self, i: int) -> Pair:
        entry, file = self.file.pairs[i], self.file
        self._note(("pairs", i), entry)
        recipe, view = entry.recipe.over(file.recipe), self._view(entry, "student")
        teacher = self._teacher(entry)
        return Pair(entry.label, teacher, entry.student, recipe, entry.group or "", view)

    def _view(self, entry: PairEntry, role: Literal["teacher", "student"]) -> str:
        """Return a view of a pair: its own, else the suite's."""
        views = entry.views if role in entry.views.model_fields_set else self.file.views
        return views.teacher if role == "teacher" else views.student

    def _teacher(self, entry: PairEntry) -> Teacher:
        suite_recipe = self.file.recipe
        if isinstance(entry.teacher, str):
            checkpoint, view = self.checkpoints.get(entry.teacher), self._view(entry, "teacher")
            recipe = self.file.teachers.recipe.over(suite_recipe)
            return Teacher(entry.teacher, recipe, checkpoint, entry.members, view=view)
        pair = next(pair for pair in self.file.pairs if pair.label == entry.teacher.pair)
        student_of = entry.teacher.pair, entry.teacher.method
        recipe, view = pair.recipe.over(suite_recipe), self._view(pair, "student")
        return Teacher(pair.student, recipe, None, entry.members, student_of, view)

    def _methods(self) -> Iterator[Method]:
        entries = self.file.methods
        for i, name in enumerate(entries):
            entry = entries[name] if isinstance(entries, dict) else None
            where: Where = ("methods", name if isinstance(entries, dict) else i)
            self.origins[f"methods.{name}"] = self.source.origin(where)
            yield self._method(name, entry if isinstance(entry, OwnMethod) else OwnMethod(), where)

    def _method(self, name: str, entry: OwnMethod = OwnMethod(), where: Where = ()) -> Method:  # noqa: B008 (frozen)
        """Return a method: the entry at `where`, by default the papers' method of this name."""
        is_papers = entry.terms is None
        contents = canonical_terms(name) if entry.terms is None else entry.terms
        terms = {
            term: self._term(name, term, content, None if is_papers else (*where, term))
            for term, content in contents.items()
        }
        used = [self.registry.declaration(term) for term in terms]
        notes = dict.fromkeys(distiller.note for distiller in used)
        notes |= {HEAD_NOTE: None} if any(map(has_head, used)) else {}
        notes |= {} if terms else {UNTRAINED_NOTE: None}
        label = entry.label or default_label(name, terms)
        pairs = self._pairs(name) if is_papers else {}
        return Method(name, terms, "; ".join(filter(None, notes)) or None, label, pairs)

    def _pairs(self, method: str) -> dict[str, dict[str, TermSpec]]:
        """Return the terms of a method of the papers for those pairs that have their own."""
        networks = (self._teacher(pair).network for pair in self.file.pairs)
        students = (pair.student for pair in self.file.pairs)
        names = {f"{pair[0]}/{pair[1]}" for pair in zip(networks, students, strict=True)}
        return {
            pair: {term: self._term(method, term, entry, None) for term, entry in terms.items()}
            for pair, terms in canonical_pairs(method).items()
            if pair in names
        }

    def _term(self, method: str, name: str, entry: TermEntry, where: Where | None) -> TermSpec:
        """Return a term with all options.

        If `where` is set, the suite defines the method at this place: the method's options override
        the suite's `options`. If `where` is None, the method is a paper's: the suite's `options`
        override the paper's options. All these options override the defaults.
        """
        distiller = self.registry.declaration(name)

        layers = [(where, entry.options), (("options", name), self.file.options.get(name, {}))]
        values, origins = default_options(distiller), {"weight": self._origin(where, "weight")}
        origins |= dict.fromkeys(values, "default")
        for place, layer in reversed(layers) if where else layers:
            valid, _ = check_options(distiller, layer, ())
            values |= valid
            origins |= {key: self._origin(place, key) for key in valid}
        self.origins |= {dotted(("methods", method, name, k)): v for k, v in origins.items()}
        ordered = recorded_options(distiller, values)
        if "warmup" in entry.model_fields_set:
            place = dotted(("methods", method, name, "warmup"))
            self.origins[place] = self._origin(where, "warmup")
        return term_spec(entry, ordered)

    def _origin(self, where: Where | None, key: str) -> str:
        return self.source.origin((*where, key)) if where else "papers"

    def _note(self, where: Where, part: BaseModel, default: str | None = None) -> None:
        """Store the origin of each value of a part; if `default` is None, skip unset values."""
        for key, value in part:
            at = (*where, key)
            if key in part.model_fields_set:
                self.origins[dotted(at)] = self.source.origin(at)
            elif default:
                self.origins[dotted(at)] = default
            if isinstance(value, BaseModel):
                self._note(at, value, DEFAULTS.get(at, default))


def papers(name: str, pair: str = "") -> dict[str, TermSpec]:
    """Return a method of the papers as terms with all options; empty for other names.

    Args:
        name: The method.
        pair: `teacher/student`; its authors' settings for this pair are used, if there are any.
    """
    terms: dict[str, TermSpec] = {}
    for term, entry in canonical_pairs(name).get(pair, canonical_terms(name)).items():
        distiller = distillers.declared(term)
        values, _ = check_options(distiller, entry.options, ())
        options = recorded_options(distiller, default_options(distiller) | values)
        terms[term] = term_spec(entry, options)
    return terms


def recorded_options(
    distiller: type[Declaration], values: Mapping[str, object]
) -> dict[str, object]:
    """Return options in the order of the constructor, without new options at their defaults."""
    defaults = default_options(distiller)
    return {
        key: values[key]
        for key in options(distiller)
        if key not in distiller.new_options or values[key] != defaults.get(key)
    }


def term_spec(entry: TermEntry, options: Mapping[str, object]) -> TermSpec:
    """Return a term with all options; a warmup of 0 is left out, as it changes no run id."""
    term = TermSpec(weight=entry.weight, options=dict(options))
    return term.model_copy(update={"warmup": entry.warmup}) if entry.warmup else term
