"""From a suite to runs, and from runs to cohorts. Pure: nothing is read, trained or written."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import data
from bench.data import Selection
from bench.data.folder import PREFIX
from bench.planning import filters
from bench.plugins import Kind, Registry
from bench.spec import DataSpec, Recipe, Role, RunSpec, TermSpec, content_hash
from bench.suite import Checkpoint, Method, Pair, Suite, Teacher

REVISION = 1  # of the meaning of a specification: raise it when the same one gives other numbers
SHARED = ("epochs", "batch_size", "crop", "flip", "resized_crop", "precision", "evaluate_every")


@dataclass(frozen=True)
class Run:
    """One training, or one checkpoint to adopt. The id is a hash of the specification.

    The specification holds all that can change the result and nothing else: data set and subset,
    network, teacher, method with every option, recipe, seed, and the source of plugins used.
    """

    id: str
    specification: RunSpec
    checkpoint: Checkpoint | None = None

    @property
    def kind(self) -> Role:
        """Whether it learns from a teacher."""
        return self.specification.role

    @property
    def teacher(self) -> str | None:
        """The id of the run whose network it learns from."""
        return self.specification.teacher


@dataclass(frozen=True)
class Cell:
    """One seed of one cell of the suite's table, and the run that fills it."""

    pair: Pair
    method: Method
    seed: int
    run: str
    teacher: str  # the id of the teacher's run

    @property
    def name(self) -> str:
        """How people call it: `resnet32x4/resnet8x4 crd+kd seed 0`."""
        return f"{self.pair.name} {self.method.name} seed {self.seed}"

    @property
    def facts(self) -> dict[str, str]:
        """What a filter can ask for."""
        return {
            "pair": self.pair.name,
            "teacher": self.pair.teacher.network,
            "student": self.pair.student,
            "method": self.method.name,
            "seed": str(self.seed),
        }


@dataclass(frozen=True)
class Plan:
    """All runs of a suite, each once, teachers first, and the cells that they fill."""

    suite: Suite
    runs: Mapping[str, Run]
    cells: tuple[Cell, ...]
    part: tuple[str, ...] = ()  # what `select` was told, where the plan is not the whole suite

    @property
    def departures(self) -> tuple[str, ...]:
        """In what it is not the suite as its file has it: changes of values, then the selection."""
        return *self.suite.changes, *self.part

    @property
    def stem(self) -> str:
        """What its files are called: they must not stand in the place of the whole suite's."""
        return f"{self.suite.name}-part" if self.departures else self.suite.name

    @cached_property
    def first(self) -> Mapping[str, Cell]:
        """For each student's run the first cell that it fills."""
        return {cell.run: cell for cell in reversed(self.cells)}

    def names(self) -> Mapping[str, str]:
        """For each run what people call it, by the first cell that it fills."""
        return self._names

    @cached_property
    def _names(self) -> dict[str, str]:
        named = {run: cell.name for run, cell in self.first.items()}
        for run in self.runs.values():
            if run.kind == "teacher":
                named[run.id] = f"{run.specification.network} seed {run.specification.seed}"
        return named


@dataclass(frozen=True)
class Cohort:
    """Runs that can train in lockstep: same data, teacher, seed, and course of an epoch."""

    runs: tuple[Run, ...]

    @property
    def teacher(self) -> str | None:
        """The id of the teacher's run that all of them share."""
        return self.runs[0].teacher

    @property
    def id(self) -> str:
        """A name for the cohort: a hash of its runs' ids."""
        return content_hash([run.id for run in self.runs])


def plan(suite: Suite, root: Path | None = None) -> Plan:
    """Every run that a suite asks for; `root` is where its data sets lie."""
    registry = suite.registry
    facts = data.facts(suite.data, root, registry.datasets)
    data_spec = _data_spec(suite.data, facts.fingerprint, registry)
    runs: dict[str, Run] = {}
    cells = []
    for pair in suite.pairs:
        for seed in suite.seeds:
            of = seed if suite.teacher_seed == "same" else suite.teacher_seed
            teacher = _teacher(pair.teacher, data_spec, of, registry)
            runs[teacher.id] = teacher
            for method in suite.methods:
                run = _student(pair, method, seed, data_spec, teacher.id, registry)
                runs[run.id] = run
                cells.append(Cell(pair, method, seed, run.id, teacher.id))
    ordered = sorted(runs.values(), key=lambda run: run.kind == "student")
    return Plan(suite, {run.id: run for run in ordered}, tuple(cells))


def select(whole: Plan, text: str = "", limit: int | None = None) -> Plan:
    """The part of a plan whose cells fit `pair=…,method=crd,seed=0`, and at most `limit` of them.

    Values are shell patterns, several for one key stand apart by `|`; keys are pair, teacher,
    student, method and seed. Raises `ConfigError` where nothing fits.
    """
    fits = filters.fitting([cell.facts for cell in whole.cells], text)
    cells = tuple(cell for cell, kept in zip(whole.cells, fits, strict=True) if kept)[:limit]
    if cells == whole.cells:
        return whole
    needed = {cell.run for cell in cells} | {cell.teacher for cell in cells}
    told = ([text] if text else []) + ([f"limit={limit}"] if limit else [])
    return replace(
        whole,
        cells=cells,
        runs={id: run for id, run in whole.runs.items() if id in needed},
        part=(*whole.part, *told),
    )


def cohorts(runs: Iterable[Run]) -> list[Cohort]:
    """The runs grouped for lockstep; teachers each alone, so that they can train side by side."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_course(run)].append(run)
    return [Cohort(tuple(group)) for group in groups.values()]


def _course(run: Run) -> str:
    """What runs of one cohort have in common."""
    if run.kind == "teacher":
        return run.id
    spec = run.specification
    recipe = spec.recipe.model_dump(mode="json")
    shared = [recipe[name] for name in SHARED]
    return content_hash([spec.data.content, spec.teacher, spec.seed, shared])


def _data_spec(selection: Selection, fingerprint: str, registry: Registry) -> DataSpec:
    """What identifies the data; of a folder of images what is in it, not where it lies."""
    fields = {**asdict(selection), "fingerprint": fingerprint}
    if selection.name.startswith(PREFIX):
        return DataSpec(**{**fields, "name": "folder"})
    return DataSpec(**fields, **_source(registry, "dataset", selection.name))


def _teacher(teacher: Teacher, data_spec: DataSpec, seed: int, registry: Registry) -> Run:
    common = {"revision": REVISION, "data": data_spec, **_network(registry, teacher.network)}
    if teacher.checkpoint is not None:
        spec = RunSpec(
            **common,
            recipe=Recipe(precision=teacher.recipe.precision),
            seed=0,
            checkpoint=teacher.checkpoint.sha256,
        )
        return Run(spec.id, spec, teacher.checkpoint)
    plain = {"ce": TermSpec(weight=1.0, options={})}
    spec = RunSpec(**common, method=plain, recipe=_filled(teacher.recipe), seed=seed)
    return Run(spec.id, spec)


def _student(
    pair: Pair, method: Method, seed: int, data_spec: DataSpec, teacher: str, registry: Registry
) -> Run:
    terms = {
        name: TermSpec(
            weight=term.weight, options=dict(term.options), **_source(registry, "distiller", name)
        )
        for name, term in method.terms.items()
    }
    spec = RunSpec(
        revision=REVISION,
        data=data_spec,
        **_network(registry, pair.student),
        teacher=teacher,
        method=terms,
        recipe=_filled(pair.recipe),
        seed=seed,
    )
    return Run(spec.id, spec)


def _filled(recipe: Recipe) -> Recipe:
    """The recipe with every key set, so that a specification holds them all."""
    return Recipe(**recipe.model_dump())


def _network(registry: Registry, name: str) -> dict[str, Any]:
    return {"network": name, **_source(registry, "network", name)}


def _source(registry: Registry, kind: Kind, name: str) -> dict[str, Any]:
    """A plugin's code is part of what can change a result."""
    source = registry.source_of(kind, name)
    return {"source": source} if source else {}
