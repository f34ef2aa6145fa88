"""Leaderboards: the methods that were trained in the same setting, ranked by their means.

A setting is the images, the networks, the recipes and the teachers of runs: everything in their
specifications except the seed and the loss. Runs of different settings are never in the same
leaderboard. Runs of several suites are, if their settings are equal.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.planning.plan import Plan
from bench.report import build, labels
from bench.report.figures import file_name
from bench.report.measured import main_metric
from bench.report.model import Cell, Column, Entry, Row, Table, TableContext
from bench.report.provenance import origin
from bench.results import Record, Results
from bench.spec import DataSpec, RunSpec, content_hash

LOSS = ("method", "stages", "teacher_stages")  # keys of a specification that describe the loss


@dataclass(frozen=True)
class Place:
    """A cell of a suite's table: the suite's page, the pair, and the method's name."""

    suite: str
    pair: str
    method: str


@dataclass(frozen=True)
class Leaderboard:
    """The methods of one setting.

    Attributes:
        slug: Name of the page.
        setting: The setting, as nested JSON data.
        specification: The specification of one of the students.
        data: The images of the students, with the name of a folder of images.
        teacher: Name of the teacher's network.
        student: Name of the student's network.
        table: The table, with one column.
        places: For each row, by its name, the suites' cells that its runs come from.
        teacher_record: A record of the teacher; None: there is no record.
        machines: The devices that trained the runs.
    """

    slug: str
    setting: Mapping[str, Any]
    specification: RunSpec
    data: DataSpec
    teacher: str
    student: str
    table: Table
    places: Mapping[str, Sequence[Place]]
    teacher_record: Record | None
    machines: tuple[str, ...]

    @property
    def data_set(self) -> str:
        """Name of the data set, without reductions and without the path of a folder of images."""
        return labels.data_set(DataSpec(name=self.data.name))

    @property
    def summary(self) -> str:
        """A phrase about the images and the student's recipe, to tell leaderboards apart."""
        facts = self.facts
        parts = [", ".join(labels.data_reductions(self.data))]
        parts += [
            f"{name.lower()}: {facts[name]}"
            for name in ("Teacher's images", "Views")
            if name in facts
        ]
        return "; ".join(filter(None, (*parts, facts["Student"])))

    @property
    def best(self) -> str:
        """The best methods, and their mean."""
        metric = self.table.metric
        rows = [row for row, rank in self.rows if rank == 1]
        values = [row.cells[0].measured for row in rows]
        numbers = [metric.mean_std(value.mean, value.std) for value in values if value]
        names = labels.join(row.label for row in rows) if rows else ""
        kind = "" if metric.name == "top1" else f" ({metric.name})"
        return f"{names}: {numbers[0]} {metric.unit}".strip() + kind if numbers else ""

    @property
    def facts(self) -> dict[str, str]:
        """Phrases about the images, the student's recipe, the teacher, and the devices."""
        spec, record = self.specification, self.teacher_record
        teacher = "its record is missing"
        if record:
            trained = record.specification.epochs and not record.specification.checkpoint
            recipe = labels.recipes([(self.teacher, record.specification.recipe)])
            teacher = f"{origin(record)} ({recipe})" if trained else origin(record)
        images = record.specification.data if record else spec.data
        is_other = (images.name, images.size, images.split) != (
            spec.data.name, spec.data.size, spec.data.split
        )  # fmt: skip
        views = f"teacher {spec.teacher_view}, student {spec.view}"
        facts = {
            "Images": labels.data_set(self.data),
            "Teacher's images": labels.data_set(images) if is_other else "",
            "Views": "" if spec.view == spec.teacher_view == "rgb" else views,
            "Student": labels.recipes([(self.student, spec.recipe)]),
            "Teacher": teacher,
            "Precision": spec.recipe.precision,
            "Devices": labels.join(self.machines),
        }
        return {name: text for name, text in facts.items() if text}

    @property
    def pair(self) -> str:
        """The two networks, as tables print them, and the name of the pair if it says more."""
        name = min(place.pair for places in self.places.values() for place in places)
        return Column.of(name, self.teacher, self.student).name

    @property
    def rows(self) -> list[tuple[Row, int | None]]:
        """Teachers and plain students; then methods with their ranks, 1 the best; None: no rank.

        Methods whose means print as the same number share a rank.
        """
        metric = self.table.metric
        methods = [row for row in self.table.rows if row.role == "method"]
        shown = {row.name: _printed(row.cells[0], metric) for row in methods}
        values = sorted((v for v in shown.values() if v is not None), reverse=metric.higher)
        ranks = {
            name: None if value is None else 1 + values.index(value)
            for name, value in shown.items()
        }
        ordered = sorted(methods, key=lambda row: ranks[row.name] or len(methods) + 1)
        others = [(row, None) for row in self.table.rows if row.role != "method"]
        return [*others, *((row, ranks[row.name]) for row in ordered)]


@dataclass
class _Group:
    """The runs of one setting, while they are collected."""

    setting: dict[str, Any]
    data: DataSpec
    entries: dict[tuple[str, str, int], Entry] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of rows, by the hash of the loss
    places: dict[str, dict[Place, None]] = field(default_factory=dict)
    teachers: dict[str, Record] = field(default_factory=dict)


def leaderboards(
    suites: Iterable[tuple[str, Plan, Sequence[Entry]]], results: Results
) -> list[Leaderboard]:
    """Return the leaderboards of suites, sorted by data set and pair.

    Controls are left out: they are on the pages of the suites.

    Args:
        suites: For each suite, the name of its page, its plan, and its runs in the order of
            `bench.report.build.entries`.
        results: The records.
    """
    groups: dict[str, _Group] = {}
    for page, plan, entries in suites:
        policy = plan.suite.teacher_seed
        teachers = {(e.pair, e.seed): e for e in entries if e.role == "teacher"}
        for entry in entries:
            if entry.record is None or entry.role not in ("student", "method"):
                continue
            shared = setting(entry.record, results, policy)
            key = content_hash(shared)
            group = groups.setdefault(key, _Group(shared, plan.suite.data.spec))
            _add(group, entry, teachers[entry.pair, entry.seed], page)
    boards = [_leaderboard(key, group) for key, group in groups.items()]
    return sorted(boards, key=lambda board: (board.data_set, board.pair, board.slug))


def setting(record: Record, results: Results, policy: int | str) -> dict[str, Any]:
    """Return the setting of a student's run.

    Args:
        record: The record of the run.
        results: The records, for the specifications of teachers.
        policy: The suite's seed of teachers: a number, or `same` for the seed of the student.
    """
    content = record.specification.content
    parts = {key: value for key, value in content.items() if key not in ("seed", *LOSS)}
    teacher = record.specification.teacher
    parts["teacher"] = _network(teacher, results) if teacher else None
    if teacher and "method" in parts["teacher"]:  # a checkpoint or an ensemble has no such seed
        parts["teacher_seed"] = policy
    return parts


def _network(run: str, results: Results) -> dict[str, Any]:
    """Return a teacher's specification without seeds, in which ids are replaced likewise."""
    record = results.summary(run)
    if record is None:
        return {"id": run}
    parts = {key: value for key, value in record.specification.content.items() if key != "seed"}
    if teacher := record.specification.teacher:
        parts["teacher"] = _network(teacher, results)
    if members := record.specification.members:
        networks = [_network(member, results) for member in members]
        different = [net for place, net in enumerate(networks) if net not in networks[:place]]
        numbered = {f"network {place}": net for place, net in enumerate(different, 1)}
        parts["members"] = {"number": len(members), **numbered}
    return parts


def _add(group: _Group, entry: Entry, teacher: Entry, page: str) -> None:
    """Add a student's run and its teacher's run."""
    record = entry.record
    if record is None:
        return
    content = record.specification.content
    loss = content_hash([entry.role, *(content.get(key) for key in LOSS)])
    if loss not in group.names:
        is_free = entry.method not in group.names.values()
        group.names[loss] = entry.method if is_free else f"{entry.method} ({loss[:8]})"
    name = group.names[loss]
    label = entry.label or entry.method
    label = label if name == entry.method else f"{label} ({loss[:8]})"
    pair = f"{entry.teacher}/{entry.student}"
    group.places.setdefault(name, {})[Place(page, entry.pair, entry.method)] = None
    key = (entry.role, name, entry.seed)
    group.entries.setdefault(key, replace(entry, pair=pair, method=name, label=label, group=""))
    if teacher.record:
        group.teachers.setdefault(teacher.record.id, teacher.record)
        key = ("teacher", "", entry.seed)
        group.entries.setdefault(key, replace(teacher, pair=pair, group=""))


def _leaderboard(key: str, group: _Group) -> Leaderboard:
    entries = sorted(group.entries.values(), key=lambda entry: entry.role != "teacher")
    student = next(entry for entry in entries if entry.role != "teacher")
    records = [entry.record for entry in entries if entry.record]
    specification = next(r for r in records if r.teacher or r.specification.teacher).specification
    recipes = {student.pair: specification.recipe}
    context = TableContext(student.pair, "", group.data, recipes)
    metric = main_metric(records)
    parts = (slug(specification.data.name), file_name(student.pair), key[:8])
    return Leaderboard(
        "-".join(parts),
        group.setting,
        specification,
        group.data,
        student.teacher,
        student.student,
        build.table(entries, context, metric),
        {name: tuple(places) for name, places in group.places.items()},
        next(iter(group.teachers.values()), None),
        tuple(sorted({str(r.environment.get("device") or "not recorded") for r in records})),
    )


def _printed(cell: Cell, metric: labels.Metric) -> float | None:
    value = cell.rankable
    return None if value is None else round(value.mean, metric.digits)


def slug(name: str) -> str:
    """Return a name as part of a path: without a slash, and without a dot at its beginning."""
    text = file_name(name)
    return text if text[:1].isalnum() else f"x{text}"


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return how two settings differ, such as `recipe.epochs: 2 (there: 240)`.

    Images of the teacher are left out if the student's images differ in the same way.
    """
    here, there = _flat(first), _flat(second)
    names = [name for name in dict.fromkeys([*here, *there]) if here.get(name) != there.get(name)]
    return [
        f"{name}: {labels.setting(here.get(name))} (there: {labels.setting(there.get(name))})"
        for name in names
        if name.removeprefix("teacher.") not in names or not name.startswith("teacher.data.")
    ]


def _flat(content: Mapping[str, Any], begin: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            values |= _flat(value, f"{begin}{key}.")
        else:
            values[f"{begin}{key}"] = value
    return values
