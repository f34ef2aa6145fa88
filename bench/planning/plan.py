"""Turn a suite into a plan of runs.

This module does not train, and does not write files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from bench import data
from bench.data import Facts, Selection
from bench.data.base import PREFIX
from bench.data.views import RGB
from bench.planning.controls import longer_recipe
from bench.planning.filters import filter_matches
from bench.planning.search import Search
from bench.planning.seeded import SeededSpec
from bench.plugins import Kind
from bench.spec import PAPERS, DataSpec, Recipe, Role, RunSpec, TermSpec
from bench.suite import Checkpoint, InitialWeights, Method, Pair, Suite
from bench.suite.schema import MEMBER_SEED
from bench.suite.seeds import GroupLooks
from distillers.declaration import reads_of_teacher

Key = TypeVar("Key", str, int)
REVISION = 1  # part of run ids; raise it if a code change alters the results of specifications
RESIZED_REVISION = 2  # of runs with `resized_crop`, whose parts have whole pixels since 2026-11
STAGE_FIELDS = frozenset({"stages", "preactivations", "norms", "stem", "pooled_map"})
TEACHERS_METHOD = {"ce": TermSpec(weight=1.0, options={})}


@dataclass(frozen=True)
class Run:
    """One training run, or one checkpoint that serves as a teacher.

    Attributes:
        id: Hash of the specification.
        specification: All settings that change the result, except the device.
        checkpoint: The file with a teacher's trained weights; None if the run trains its network.
        init: The file whose weights the network begins with; None: random weights.
        dataset: Name of its data set, or `folder:PATH`, if it is not the suite's; else empty.
        facts: Facts of the images of a measure; None for other runs.
    """

    id: str
    specification: RunSpec
    checkpoint: Checkpoint | None = None
    init: InitialWeights | None = None
    dataset: str = ""
    facts: Facts | None = None

    @property
    def kind(self) -> Role:
        """The kind of the run, such as `teacher` or `student`."""
        return self.specification.role

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the runs that must end before this run can start."""
        return self.specification.needs

    @property
    def teacher(self) -> str | None:
        """The id of the run of the network that teaches; None if no network teaches."""
        return self.specification.teacher


@dataclass(frozen=True)
class Cell:
    """A (teacher, student) pair, a method and a seed; `run` and `teacher` are ids of runs.

    `teacher` is the pair's teacher, also if the method is a control with an untrained teacher.
    """

    pair: Pair
    method: Method
    seed: int
    run: str
    teacher: str

    @property
    def name(self) -> str:
        """The name in messages, such as `resnet32x4/resnet8x4 crd+kd seed 0`."""
        return f"{self.pair.name} {self.method.name} seed {self.seed}"

    @property
    def facts(self) -> dict[str, str]:
        """The values that `--filter` compares, by key."""
        return {
            "pair": self.pair.name,
            "teacher": self.pair.teacher.network,
            "student": self.pair.student,
            "method": self.method.name,
            "seed": str(self.seed),
        }


@dataclass(frozen=True)
class Plan:
    """All runs of a suite, and all its combinations of pair, method and seed.

    Attributes:
        suite: The suite.
        runs: The runs by id, teachers first.
        cells: The combinations; two cells with equal specifications share one run.
        facts: Facts of the images that the suite selects, for its students.
        teacher_facts: Facts of the images on which teachers are trained; None: `facts`.
        searches: The trials of the methods that the suite tunes, and their results so far.
        trials: The plan of these trials; None: the suite tunes no method.
        measures: The id of the probe's run, by the id of the run that it measures and the name of
            the probe in the suite.
        looks: The looks so far, if verdicts decide about the seeds; else empty.
        later: The plan with all seeds that may still be run; None: all seeds are decided.
        part: The filter and the limit of `select`, if they removed any cell.
        complete: The plan that `select` got; None if no cell was removed.
    """

    suite: Suite
    runs: Mapping[str, Run]
    cells: tuple[Cell, ...]
    facts: Facts
    measures: Mapping[tuple[str, str], str] = field(default_factory=dict)
    teacher_facts: Facts | None = None
    searches: tuple[Search, ...] = ()
    trials: "Plan | None" = None
    looks: tuple[GroupLooks, ...] = ()
    later: "Plan | None" = field(default=None, compare=False, repr=False)
    part: tuple[str, ...] = ()
    complete: "Plan | None" = field(default=None, compare=False, repr=False)

    def facts_of(self, role: Role) -> Facts:
        """Return facts of the images for a kind of runs: `teacher`, or `student`."""
        return self.facts if role == "student" else self.teacher_facts or self.facts

    @cached_property
    def undecided(self) -> frozenset[str]:
        """Ids of runs that cannot start yet: trials choose their settings, or a needed run's."""
        ids: set[str] = set()
        for id, run in self.runs.items():  # a run comes after the runs that it needs
            if run.specification.undecided or ids.intersection(run.needs):
                ids.add(id)
        return frozenset(ids)

    @property
    def departures(self) -> tuple[str, ...]:
        """The differences from the suite's file: changed values, then the filter and the limit."""
        return *self.suite.changes, *self.part

    @property
    def stem(self) -> str:
        """The start of output file names: the suite's name, with `-part` if there are `departures`.

        Tables of a changed or filtered suite therefore do not overwrite the suite's tables.
        """
        return f"{self.suite.name}-part" if self.departures else self.suite.name

    @cached_property
    def first(self) -> Mapping[str, Cell]:
        """The first cell of each student's run, by run id."""
        return {cell.run: cell for cell in reversed(self.cells)}

    def names(self) -> Mapping[str, str]:
        """Return each run's name in messages, by id; a student has the name of its first cell."""
        return self._names

    @cached_property
    def _names(self) -> dict[str, str]:
        specs = {run.id: run.specification for run in self.runs.values()}
        names = {id: _name(spec) for id, spec in specs.items()}
        names |= {run: cell.name for run, cell in self.first.items()}
        measures = {run: f"{names[id]} {name}" for (id, name), run in self.measures.items()}
        return names | measures


def _name(spec: RunSpec) -> str:
    """Return the name in messages of a run that is in no cell of the table."""
    if spec.role == "ensemble":
        return f"ensemble of {len(spec.members)} {spec.network}"
    method = f" {'+'.join(spec.method)}" if spec.role == "student" else ""
    begin = "" if spec.method or spec.checkpoint else "untrained "
    return f"{begin}{spec.network}{method} seed {spec.seed}"


def plan(suite: Suite, root: Path | None = None) -> Plan:
    """Return the plan of a suite.

    Args:
        suite: The suite.
        root: Folder of data sets. None: the folder in the environment variable `BENCH_DATA`. If the
            variable is not set, the folder `data` in the current folder is used.

    Raises:
        BenchError: The data set does not have the selected images.
        MissingData: A folder of images is missing.
    """
    runs, facts, teacher_facts = first_runs(suite, root)
    cells = []
    for pair in suite.pairs:
        for seed in suite.seeds:
            teacher = runs.teacher(pair, seed)
            for method in suite.methods:
                cells.append(Cell(pair, method, seed, runs.student(pair, method, seed), teacher))
    return Plan(suite, ordered(runs.by_id), tuple(cells), facts, teacher_facts=teacher_facts)


def first_runs(suite: Suite, root: Path | None) -> "tuple[Runs, Facts, Facts | None]":
    """Return the runs of a suite, still empty; facts of its images, and of the teachers' images.

    The arguments and errors are those of `plan`. The teachers' facts are None if the images are the
    same.
    """
    facts = data.facts(suite.data, root, suite.registry.datasets)
    students = data_spec(suite, suite.data, facts)
    teacher_facts, teachers = None, students
    if suite.teacher_data is not None:
        teacher_facts = data.facts(suite.teacher_data, root, suite.registry.datasets)
        teachers = data_spec(suite, suite.teacher_data, teacher_facts)
        facts = facts.taught_by(teacher_facts)
    return Runs(suite, students, teachers), facts, teacher_facts


@dataclass
class Runs:
    """The runs of a suite; each method returns the id of a run, and adds the run if it is new.

    Attributes:
        suite: The suite.
        data: The images of students.
        teacher_data: The images of teachers.
        by_id: The runs so far.
    """

    suite: Suite
    data: DataSpec
    teacher_data: DataSpec
    by_id: dict[str, Run] = field(default_factory=dict)
    _teachers: dict[tuple[str, int], str] = field(default_factory=dict)  # by pair and seed
    _students: dict[tuple[str, str], tuple[Method, Run, SeededSpec]] = field(default_factory=dict)

    def teacher(self, pair: Pair, seed: int) -> str:
        """Add the teacher of a pair for students of a seed, and an ensemble's members."""
        if (pair.name, seed) not in self._teachers:
            self._teachers[pair.name, seed] = self._teacher(pair, seed)
        return self._teachers[pair.name, seed]

    def _teacher(self, pair: Pair, seed: int) -> str:
        teacher, own_seed = pair.teacher, self.suite.teacher_seed
        if teacher.members == 1:
            return self._one_teacher(pair, seed if own_seed == "same" else own_seed)
        seeds = range(MEMBER_SEED, MEMBER_SEED + teacher.members)
        members = [self._one_teacher(pair, seed) for seed in seeds]
        recipe = Recipe(precision=teacher.recipe.precision)
        fields: dict[str, Any] = {"members": members, **_view("view", teacher.view)}
        return self._add(teacher.network, recipe=recipe, seed=0, **fields)

    def student(self, pair: Pair, method: Method, seed: int) -> str:
        """Add the student of a pair that is trained with a method and a seed."""
        key, teacher = (pair.name, method.name), self.teacher(pair, seed)
        if method.control == "untrained":
            teacher = self._untrained_teacher(pair, seed)
        first, run, spec = self._students.get(key, (None, None, None))
        if first is not method or run is None or spec is None:
            run = self.by_id[self._student(pair, method, seed, teacher)]
            self._students[key] = method, run, SeededSpec(run.specification)
            return run.id
        id, specification = spec.of(seed, teacher)
        self.by_id[id] = replace(run, id=id, specification=specification)
        return id

    def _student(self, pair: Pair, method: Method, seed: int, teacher: str) -> str:
        terms = _terms(self.suite, method.terms_of(pair))
        fields = _stages(self.suite, pair, terms) | _view("view", pair.view)
        fields |= _view("teacher_view", pair.teacher.view)
        members = 1 if method.control == "untrained" else pair.teacher.members
        if members > 1 and self.suite.combine != "sum":
            fields["combine"] = self.suite.combine
        if method.undecided:
            fields["undecided"] = True
        recipe = pair.recipe
        if method.control == "longer":
            recipe = longer_recipe(pair, {pair.name: pair for pair in self.suite.pairs})
        return self._add(
            pair.student, teacher=teacher, method=terms, recipe=recipe, seed=seed, **fields
        )

    def _untrained_teacher(self, pair: Pair, seed: int) -> str:
        """Add a run of the network of a pair's teacher with its random initial weights."""
        teacher, own_seed = pair.teacher, self.suite.teacher_seed
        recipe = Recipe(precision=teacher.recipe.precision)
        seed = seed if own_seed == "same" else own_seed
        fields: dict[str, Any] = _view("view", teacher.view)
        return self._add(teacher.network, method={}, recipe=recipe, seed=seed, **fields)

    def _one_teacher(self, pair: Pair, seed: int) -> str:
        teacher = pair.teacher
        if teacher.student_of is not None:
            pairs = {pair.name: pair for pair in self.suite.pairs}
            methods = {method.name: method for method in self.suite.methods}
            name, method = teacher.student_of
            return self.student(pairs[name], methods[method], seed)
        if (checkpoint := teacher.checkpoint) is not None:
            fields: dict[str, Any] = {"recipe": Recipe(precision=teacher.recipe.precision)}
            fields |= {"seed": 0, "checkpoint": checkpoint.sha256}
        else:
            fields = {"method": TEACHERS_METHOD, "recipe": teacher.recipe, "seed": seed}
        fields |= _view("view", teacher.view)
        return self._add(teacher.network, checkpoint, **fields)

    def _add(self, network: str, file: Checkpoint | None = None, **fields: Any) -> str:
        suite = self.suite
        fields |= _source(suite, "network", network)
        trained = "teacher" in fields or bool(fields.get("method"))  # or a student with {}
        init = suite.init.get(network) if trained else None
        if network in suite.pretrained and trained:
            fields["pretrained"] = True
        if init is not None:
            fields["init"] = init.sha256
        if network in suite.registry.options:
            fields["options"] = dict(suite.registry.options[network])
        images = self.data if "teacher" in fields else self.teacher_data
        revision = RESIZED_REVISION if fields.get("recipe", PAPERS).resized_crop else REVISION
        spec = RunSpec(revision=revision, data=images, network=network, **fields)
        other = suite.teacher_data.name if suite.teacher_data and "teacher" not in fields else ""
        run = Run(spec.id, spec, file, init, other)
        self.by_id[run.id] = run
        return run.id


def ordered(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return runs by id, each after the runs that it needs, otherwise in the given order."""
    depth = depths({id: run.needs for id, run in runs.items()})
    return {id: runs[id] for id in sorted(runs, key=depth.__getitem__)}


def depths(needs: Mapping[Key, Iterable[Key]]) -> dict[Key, int]:
    """Return for each key the length of the longest chain of keys that it needs, itself included.

    Args:
        needs: The keys that each key needs; those that are not keys of `needs` are ignored.
    """
    lengths: dict[Key, int] = {}

    def length(key: Key) -> int:
        if key not in lengths:
            chains = (length(needed) for needed in needs[key] if needed in needs)
            lengths[key] = 1 + max(chains, default=0)
        return lengths[key]

    return {key: length(key) for key in needs}


def with_needed(ids: Iterable[str], runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return the runs with these ids, and all runs that they need, directly or not."""
    needed: set[str] = set()
    waiting = list(ids)
    while waiting:
        if (id := waiting.pop()) not in needed:
            needed.add(id)
            waiting += runs[id].needs
    return {id: run for id, run in runs.items() if id in needed}


def _view(key: str, name: str) -> dict[str, str]:
    """Return a field of the specification; {} for the default view, which changes no run id."""
    return {} if name == RGB else {key: name}


def _stages(suite: Suite, pair: Pair, terms: Iterable[str]) -> dict[str, Any]:
    """Return the stages that a suite declares, for runs with a distiller that reads maps."""
    distillers = map(suite.registry.declaration, terms)
    reads = {name for d in distillers for name in (*d.reads, *reads_of_teacher(d))}
    if not reads & STAGE_FIELDS:
        return {}
    networks = {"stages": pair.student, "teacher_stages": pair.teacher.network}
    return {key: list(suite.stages[name]) for key, name in networks.items() if name in suite.stages}


def data_spec(suite: Suite, selection: Selection, facts: Facts) -> DataSpec:
    """Return selected images as run ids have them.

    Args:
        suite: The suite; its plugins may define the data set.
        selection: The images.
        facts: Facts of the images.
    """
    spec = DataSpec(**selection.content, fingerprint=facts.fingerprint)
    if selection.name.startswith(PREFIX):
        return spec.model_copy(update={"name": "folder"})  # a folder's path does not change ids
    return spec.model_copy(update=_source(suite, "dataset", selection.name))


def _terms(suite: Suite, terms: Mapping[str, TermSpec]) -> dict[str, TermSpec]:
    return {
        name: term.model_copy(update=_source(suite, "distiller", name))
        for name, term in terms.items()
    }


def _source(suite: Suite, kind: Kind, name: str) -> dict[str, Any]:
    """Return the SHA-256 of the plugin that defines a name, or {} if the name is built-in."""
    source = suite.registry.source_of(kind, name)
    return {"source": source} if source else {}


def select(plan: Plan, text: str = "", limit: int | None = None) -> Plan:
    """Return the cells of a plan that match a filter, with their runs and their teachers' runs.

    Args:
        plan: The plan.
        text: The filter, such as `pair=vgg13/*,method=kd|crd,seed=0`. Keys are pair, teacher,
            student, method and seed. Values are shell patterns, separated by `|`.
        limit: Maximum number of cells; None: all.

    Raises:
        ConfigError: The filter is invalid, or matches no cell.
    """
    matches = filter_matches([cell.facts for cell in plan.cells], text)
    cells = tuple(cell for cell, fits in zip(plan.cells, matches, strict=True) if fits)[:limit]
    if cells == plan.cells:
        return plan
    selected = with_cells(plan, cells)
    part = (*([text] if text else ()), *([f"limit={limit}"] if limit else ()))
    selected = replace(selected, part=(*plan.part, *part), complete=plan.complete or plan)
    return _with_trials_of(selected) if plan.trials else selected


def with_cells(plan: Plan, cells: tuple[Cell, ...]) -> Plan:
    """Return a plan with only some of its cells, and the runs and measures that these need."""
    chosen = {cell.run for cell in cells} | {cell.teacher for cell in cells}
    measures = {key: run for key, run in plan.measures.items() if key[0] in chosen}
    runs = with_needed((*chosen, *measures.values()), plan.runs)
    return replace(plan, cells=cells, runs=runs, measures=measures)


def _with_trials_of(plan: Plan) -> Plan:
    """Return a plan with only the trials on which its cells depend."""
    methods, pairs = ({getattr(c, key).name for c in plan.cells} for key in ("method", "pair"))
    searches = tuple(
        each
        for each in plan.searches
        if each.method in methods and (each.every_pair or each.pair in pairs)
    )
    ids = {run for each in searches for trial in each.trials for run in trial.runs}
    trials = plan.trials
    if trials is not None:
        runs = with_needed(ids, trials.runs)
        cells = tuple(cell for cell in trials.cells if cell.run in ids)
        trials = replace(trials, runs=runs, cells=cells)
    return replace(plan, searches=searches, trials=trials)
