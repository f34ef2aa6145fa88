"""The keys of a suite file, their types, ranges and defaults; and the resolved suite.

The schema accepts any name of a network, data set, distiller or method. The module
`bench.suite.checks` verifies the names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, StringConstraints, model_validator

from bench.config import fields
from bench.config.fields import allowed
from bench.config.text import Problem, Where
from bench.data import Selection
from bench.data.views import RGB
from bench.errors import unknown
from bench.plugins import BUILTIN, Registry
from bench.spec import Recipe, TermSpec
from bench.suite.measures import Evaluate, EvaluateEntry, Probe, Probes
from bench.suite.parts import (
    RESERVED_OPTIONS,
    DataSetEntry,
    Ensembles,
    MethodEntry,
    Networks,
    PairName,
    Part,
    Plugins,
    PublishedSource,
    RecipeChanges,
    RecipeEntry,
    SharedOptions,
    TeacherEntry,
    TeacherRun,
    Teachers,
    Views,
    ViewsEntry,
)
from bench.suite.seeds import SeedsEntry, UntilSettled
from bench.suite.tuning import Tune, Tuning

MEMBER_SEED = 100  # seed of an ensemble's first member; no student may have a member's seed
MAX_RUNS = 50_000  # runs of students in one suite
TIMM_KEYS = {"layer_decay": 1.0, "drop_path": 0.0}  # recipes of timm only: value without effect
LIBRARIES = ("timm:", "torchvision:")
Control = Literal["smoothing", "untrained", "longer"]


class PairEntry(Part):
    """One column of a table: a teacher and a student.

    Attributes:
        name: Name of the pair in tables, messages and filters. Default: `teacher/student`.
        teacher: Network of the teacher; or another pair and a method, whose student is the teacher.
        members: Number of teachers of an ensemble.
        student: Network of the student.
        views: Views of this pair's networks. Default: those of the suite.
        recipe: Changes of the suite's recipe for the student.
        group: Title of the table that shows the pair. Pairs with different groups are in different
            tables.
    """

    name: Annotated[
        PairName | None,
        allowed("one line of at most 200 characters, without , | = * ? [ ]", "lower rate"),
    ] = None
    teacher: Annotated[TeacherEntry, fields.examples("resnet56")]
    members: Annotated[
        Annotated[fields.Whole, Ge(1), Le(100)], allowed("a whole number of teachers, 1 to 100")
    ] = 1
    student: Annotated[fields.Network, fields.examples("resnet20")]
    views: Views = ViewsEntry()
    recipe: RecipeChanges = RecipeEntry()
    group: Annotated[
        fields.Title | None, allowed("one line of at most 200 characters", "same architecture")
    ] = None

    @property
    def label(self) -> str:
        """The pair's name in messages, filters and records of other pairs."""
        teacher = self.teacher if isinstance(self.teacher, str) else vars(self.teacher)
        views = self.views.model_dump(exclude_unset=True)
        return self.name or default_name(teacher, self.members, self.student, views)

    def conflicts(self, i: int, suite: "SuiteFile") -> Iterator[Problem]:
        """Yield problems of the teacher of pair `i` of a suite."""
        if self.members > 1 and self.teacher in suite.teachers.checkpoints:
            message = f"found {self.members}, and '{self.teacher}' has a checkpoint. Allowed: 1"
            yield Problem(("pairs", i, "members"), message)
        if not isinstance(self.teacher, TeacherRun):
            return
        pairs = {pair.label: pair for pair in suite.pairs}
        where: Where = ("pairs", i, "teacher")
        if (name := self.teacher.pair) not in pairs:
            yield Problem((*where, "pair"), unknown("pair", name, pairs))
        if (method := self.teacher.method) not in suite.methods:
            yield Problem((*where, "method"), unknown("method of the suite", method, suite.methods))
        chain: list[str] = []
        pair: PairEntry | None = self
        while pair and isinstance(pair.teacher, TeacherRun) and pair.label not in chain:
            chain.append(pair.label)
            pair = pairs.get(pair.teacher.pair)
        if pair and pair.label in chain:
            message = f"the teacher learns from itself: {' ← '.join([*chain, pair.label])}"
            yield Problem(where, f"{message}. Allowed: a chain that ends at a network's name")


def default_name(
    teacher: str | Mapping[str, str], members: int, student: str, views: Mapping[str, str]
) -> str:
    """Return the name of a pair without a `name`: `teacher/student`.

    The teacher is, for example, `resnet56`, `resnet56x8` (an ensemble of 8) or `resnet20@kd` (the
    student resnet20 of another pair, trained with kd). If the pair itself sets views, each view
    follows its network: `resnet20@l/resnet20@ab`.
    """
    if not isinstance(teacher, str):
        teacher = f"{teacher['pair'].rpartition('/')[2]}@{teacher['method']}"
    seen = {role: f"@{view}" for role, view in views.items()}
    count = f"x{members}" if members > 1 else ""
    return f"{teacher}{count}{seen.get('teacher', '')}/{student}{seen.get('student', '')}"


class SuiteFile(Part):
    """A suite file; top-level keys that begin with `x-` are ignored, e.g. mappings to merge.

    Attributes:
        suite_version: Version of the format of suite files.
        title: Title of the suite's tables.
        caption: Text in the captions of the suite's tables.
        dataset: Images on which networks are trained and tested.
        recipe: Changes of the papers' recipe, for all networks.
        teachers: The training of teachers, or files of trained teachers.
        ensemble: How the losses of an ensemble of teachers are combined.
        seeds: Seeds of the students; each method is trained once with each seed. Or as many as
            verdicts need.
        views: What teachers and students see of each image.
        pairs: Columns of the tables: pairs of a teacher and a student.
        networks: Settings of single networks, by the network's name.
        methods: Rows of the tables: names of the papers' methods, or a mapping of methods to
            weighted distillers.
        options: Options of distillers for all methods of the suite, by the distiller's name.
        plugins: Python files of your own with distillers, networks or data sets. Every command that
            reads the suite executes them.
        published: Source of the published numbers that a report shows first. Default: CRD's tables.
        probes: Classifiers that measure the features of finished networks, by a name of yours.
        evaluate: Further measures of finished networks.
        tune: A search for weights and options of methods on held-out images, before the runs of the
            table.
        controls: Whether tables have rows that show how much of a gain needs the teacher.
    """

    suite_version: Annotated[fields.Whole, Ge(1), Le(1), allowed("1", 1)]
    title: Annotated[fields.Title, fields.examples("CIFAR-100, same architecture style")]
    caption: Annotated[
        str,
        StringConstraints(max_length=2000),
        allowed("a text, at most 2000 characters", "Accuracy of the last epoch."),
    ] = ""
    dataset: Annotated[DataSetEntry, fields.examples("cifar100")]
    recipe: RecipeChanges = RecipeEntry()
    teachers: Annotated[
        Teachers, allowed("a mapping of dataset, seed, recipe, checkpoints", {"seed": "same"})
    ] = Teachers()
    ensemble: Annotated[Ensembles, allowed("a mapping of combine", {"combine": "mean"})] = (
        Ensembles()
    )
    seeds: SeedsEntry = (0, 1, 2)
    views: Views = ViewsEntry()
    pairs: Annotated[
        tuple[PairEntry, ...],
        Len(1),
        allowed(
            "a list of {teacher: …, student: …}", [{"teacher": "resnet56", "student": "resnet20"}]
        ),
    ]
    networks: Networks = {}
    methods: Annotated[
        Annotated[list[fields.Label], Len(1), fields.tag("list")]
        | Annotated[dict[fields.Label, MethodEntry], Len(1), fields.tag("mapping")],
        fields.by_type(list=list, mapping=dict),
        allowed("a list of the papers' methods, or a mapping of methods to {distiller: weight}"),
    ]
    options: SharedOptions = {}
    plugins: Plugins = ()
    published: PublishedSource = None
    probes: Probes = {}
    evaluate: Evaluate = EvaluateEntry()
    tune: Tuning = None
    controls: fields.Truth = False

    model_config = ConfigDict(json_schema_extra={"patternProperties": {"^x-": {}}})

    @model_validator(mode="before")
    @classmethod
    def _ignore_extensions(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if not key.startswith("x-")}

    @property
    def settling(self) -> UntilSettled | None:
        """The rule that decides about seeds; None: the suite lists its seeds."""
        return self.seeds if isinstance(self.seeds, UntilSettled) else None

    @property
    def every_seed(self) -> tuple[int, ...]:
        """The seeds of the suite, or all seeds that may be run."""
        return self.seeds.seeds if isinstance(self.seeds, UntilSettled) else self.seeds

    def conflicts(self) -> Iterator[Problem]:
        """Yield a problem for each contradiction between keys, and for too many runs."""
        places: dict[Where, RecipeEntry] = {("recipe",): self.recipe}
        places["teachers", "recipe"] = self.teachers.recipe
        places |= {("pairs", i, "recipe"): pair.recipe for i, pair in enumerate(self.pairs)}
        for where, entry in places.items():
            for key, message in entry.contradictions(self.recipe):
                yield Problem((*where, key), message)
        yield from self._recipes_of_other_networks()
        yield from self._networks_without_options()
        for name, probe in self.probes.items():
            yield from probe.conflicts(("probes", name))
        yield from self.evaluate.conflicts(self.dataset, len(self.every_seed))
        for i, pair in enumerate(self.pairs):
            yield from pair.conflicts(i, self)
        members = range(MEMBER_SEED, MEMBER_SEED + max(pair.members for pair in self.pairs))
        if self.settling:
            yield from self.settling.conflicts(self.methods)
        if self.tune:
            yield from self.tune.conflicts(self.every_seed)
        if any(pair.members > 1 for pair in self.pairs) and (
            used := {*members} & {*self.every_seed}
        ):
            message = f"found {min(used)}, which is the seed of an ensemble's member"
            yield Problem(
                ("seeds",), f"{message}. Allowed: seeds below {MEMBER_SEED} or above {members[-1]}"
            )
        runs = len(self.pairs) * len(self.methods) * len(self.every_seed)
        if runs > MAX_RUNS:
            yield Problem(
                ("methods",), f"found {runs:,} runs of students. Allowed: at most {MAX_RUNS:,}"
            )

    def _networks_without_options(self) -> Iterator[Problem]:
        """Yield a problem for each network that cannot have its options or initial weights."""
        for network, entry in self.networks.items():
            where: Where = ("networks", network)
            if not network.startswith(LIBRARIES):
                for key in sorted({"options", "pretrained"} & entry.model_fields_set):
                    message = f"'{network}' is not a network of a library"
                    yield Problem(
                        (*where, key), f"{message}. Allowed: timm:<name>, torchvision:<name>"
                    )
            if entry.init and entry.pretrained:
                yield Problem((*where, "init"), "found pretrained: true, too. Allowed: one of them")
            if entry.init and network in self.teachers.checkpoints:
                message = f"teachers.checkpoints.{network} has all weights of '{network}'"
                yield Problem((*where, "init"), f"{message}. Allowed: one of the two files")
            for option in entry.options:
                if option in RESERVED_OPTIONS or option.startswith("pretrained"):
                    message = f"distillbench sets {option} itself. Allowed: other arguments"
                    yield Problem((*where, "options", option), message)

    def _recipes_of_other_networks(self) -> Iterator[Problem]:
        """Yield a problem for each network not from timm whose recipe uses a key of `TIMM_KEYS`."""
        trained: list[tuple[str, Where, RecipeEntry]] = [
            (pair.student, ("pairs", i, "recipe"), pair.recipe) for i, pair in enumerate(self.pairs)
        ]
        teachers = dict.fromkeys(p.teacher for p in self.pairs if isinstance(p.teacher, str))
        trained += [
            (network, ("teachers", "recipe"), self.teachers.recipe)
            for network in teachers
            if network not in self.teachers.checkpoints
        ]
        for network, where, entry in trained:
            for key, usual in TIMM_KEYS.items():
                value = getattr(entry.over(self.recipe), key)
                if value == usual or network.startswith("timm:"):
                    continue
                place = where if key in entry.model_fields_set else ("recipe",)
                message = f"found {value:g}, and '{network}' is not a network of timm"
                fix = f"timm:<name>, or {'.'.join(map(str, where))}.{key}: {usual:g}"
                yield Problem((*place, key), f"{message}. Allowed: {fix}")


@dataclass(frozen=True)
class Method:
    """A row of the table: a weighted sum of distillers.

    Attributes:
        name: The name in suites.
        terms: The distillers by name, with all options.
        note: A footnote in tables, such as "reconstruction"; None: no footnote.
        label: The label in the papers' tables; for other methods, `name`.
        pairs: Terms for single pairs, by `teacher/student`, if the method's authors publish other
            settings for these pairs; or by the pair's name, if trials chose other settings.
        undecided: Whether trials that choose its weights and options have not ended.
        control: The kind of a control: `smoothing` (of labels), `untrained` (teacher) or `longer`
            (training); None: a method.
    """

    name: str
    terms: Mapping[str, TermSpec]
    note: str | None = None
    label: str = ""
    pairs: Mapping[str, Mapping[str, TermSpec]] = field(default_factory=dict)
    undecided: bool = False
    control: Control | None = None

    def terms_of(self, pair: "Pair") -> Mapping[str, TermSpec]:
        """Return the distillers of the method for a pair."""
        return self.pairs.get(pair.name, self.pairs.get(pair.networks, self.terms))


@dataclass(frozen=True)
class InitialWeights:
    """The file whose weights a network begins with, and the file's checksum."""

    path: Path  # an absolute path
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """The file of a trained teacher, with the expected checksum and accuracy."""

    path: Path  # an absolute path
    sha256: str
    top1: float | None  # expected test accuracy in percent; None: not checked
    tolerance: float  # percentage points

    def broken_promise(self, top1: float | None) -> str | None:
        """Return why a measured accuracy in percent is refused; None if it is within tolerance."""
        if self.top1 is None or top1 is None or abs(top1 - self.top1) <= self.tolerance:
            return None
        allowed = f"{self.top1:.2f} ± {self.tolerance:.2f}"
        return f"{self.path}: {top1:.2f} % top-1 on the test set. Allowed: {allowed}"


@dataclass(frozen=True)
class Teacher:
    """The network that a student learns from: trained, or read from a checkpoint.

    Attributes:
        network: Name of the network.
        recipe: Recipe of the teacher's training.
        checkpoint: File of the teacher's weights; None if the teacher is trained.
        members: Number of networks of an ensemble; 1 for other teachers.
        student_of: Pair and method, if the teacher is the student of another pair.
    """

    network: str
    recipe: Recipe
    checkpoint: Checkpoint | None
    members: int = 1
    student_of: tuple[str, str] | None = None
    view: str = RGB  # the view of each image that the network sees

    @property
    def content(self) -> str | dict[str, str]:
        """The teacher as the value of `teacher` in a pair of a suite file."""
        if self.student_of is None:
            return self.network
        return dict(zip(("pair", "method"), self.student_of, strict=True))


@dataclass(frozen=True)
class Pair:
    """A column of a table; pairs of different groups are in different tables."""

    name: str  # e.g. "resnet32x4/resnet8x4", or "resnet20@l/resnet20@ab" with own views
    teacher: Teacher
    student: str
    recipe: Recipe  # the recipe of the student
    group: str = ""  # not part of any run's id
    view: str = RGB  # the view of each image that the student sees

    @property
    def networks(self) -> str:
        """The names of the two networks, `teacher/student`."""
        return f"{self.teacher.network}/{self.student}"


@dataclass(frozen=True)
class Suite:
    """A resolved suite file.

    Attributes:
        name: The file's name without .yaml.
        title: Title of the suite's tables.
        caption: Text in the captions of the suite's tables.
        path: The file.
        data: The data set, or the selected subset.
        views: Views of teachers and students, by role, for pairs that do not set views.
        teacher_data: The data set on which teachers are trained; None: `data`.
        recipe: The common recipe, which pairs and teachers can change.
        teacher_seed: Seed of all teachers, or `same`: each student's seed.
        seeds: Seeds of the students; with `settling`, all seeds that may be run.
        pairs: Columns of the tables.
        methods: Rows of the tables.
        plugins: Absolute paths of the plugin files.
        origins: `suite:LINE`, `papers`, `default` or `command line`, by dotted places such as
            `recipe.lr` or `methods.crd.crd.negatives`.
        unused: Distillers in `options` that no method contains.
        registry: The distillers, networks and data sets that the suite can use.
        stages: Layers that end the stages of a network, by network, if the suite declares them.
        pretrained: Networks that begin with the weights of their library.
        combine: Whether losses are summed or averaged over the members of an ensemble.
        init: Files of weights by network, for networks that begin with the weights of a file.
        changes: Changes of the file's values, e.g. `recipe.epochs=2`.
        published: Source of the published numbers that the tables can show, one of
            `parts.SOURCES`; empty: CRD's tables.
        probes: Probes of the finished networks.
        evaluate: Settings of other measures of the finished networks, by the measure's name.
        settling: The rule that decides about seeds; None: all `seeds` are run.
        controls: Whether the suite asks for controls; they are among its methods.
        tune: The search for weights and options of methods; None: no search.
    """

    name: str
    title: str
    caption: str
    path: Path
    data: Selection
    recipe: Recipe
    teacher_seed: int | Literal["same"]
    seeds: tuple[int, ...]
    pairs: tuple[Pair, ...]
    methods: tuple[Method, ...]
    plugins: tuple[Path, ...]
    origins: Mapping[str, str]
    unused: tuple[str, ...] = ()
    registry: Registry = BUILTIN
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pretrained: tuple[str, ...] = ()
    combine: Literal["sum", "mean"] = "sum"
    init: Mapping[str, InitialWeights] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    published: str = ""
    teacher_data: Selection | None = None
    views: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    evaluate: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tune: Tune | None = None
    controls: bool = False
    settling: UntilSettled | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of all networks, each once, in the order of the pairs."""
        names = (name for pair in self.pairs for name in (pair.teacher.network, pair.student))
        return tuple(dict.fromkeys(names))
