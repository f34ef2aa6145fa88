"""Add the runs that measure a plan's finished networks: the suite's `probes` and `evaluate`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import data
from bench.data import Facts, Selection
from bench.planning.plan import Plan, Run, data_spec, ordered
from bench.spec import PROBE, SMALL_LR_STUDENTS, DataSpec, Recipe, RunSpec
from bench.suite import Suite
from bench.suite.measures import CHANNELS, Probe

WITH_TEACHER = frozenset({"cka", "teacher_in_top5"})  # measures that compare with the teacher
WITH_PEER = frozenset({"agreement_floor"})  # measures that compare with another seed
OF_FEATURES = frozenset({"cka"})  # measures that compare features
WITH_STAGES = "stages"


@dataclass(frozen=True)
class Target:
    """The images that a measure uses.

    Attributes:
        name: Name of the data set, or `folder:PATH`.
        spec: The images, as in the specifications of runs.
        facts: Facts of the images.
    """

    name: str
    spec: DataSpec
    facts: Facts


@dataclass(frozen=True)
class Subject:
    """A finished network that is measured.

    Attributes:
        id: Id of the network's run.
        spec: Specification of the network's run.
        teacher: Specification of the teacher's run; None if the network has no teacher.
        source: The images on which the network was trained.
        peer: Id of the run of the same method with the next seed; None: there is no other seed.
    """

    id: str
    spec: RunSpec
    teacher: RunSpec | None
    source: Target
    peer: str | None

    def allows(self, measure: str) -> bool:
        """Return whether a measure of `evaluate` is possible for the network.

        Some measures need a teacher or another seed. A measure of features is not possible with an
        ensemble as the teacher, because an ensemble has no features of its own. If no images have
        labels of the network's classes, no measure is possible. If only the test images have such
        labels, only measures of features are possible.
        """
        labels = self.source.facts.labels
        if labels == "none" or (labels == "test" and measure not in OF_FEATURES):
            return False
        if measure in WITH_PEER:
            return self.peer is not None
        if measure in OF_FEATURES and self.teacher and self.teacher.members:
            return False
        return measure not in WITH_TEACHER or self.teacher is not None


def with_measures(plan: Plan, root: Path | None = None) -> Plan:
    """Return a plan with the runs that measure its finished networks.

    Args:
        plan: The plan of a suite.
        root: Folder of data sets; None: as in `bench.planning.plan.plan`.

    Raises:
        BenchError: A probe's data set does not have the selected images.
        MissingData: A folder of images is missing.
    """
    suite = plan.suite
    if not (suite.probes or suite.evaluate):
        return plan
    source = Target(suite.data.name, data_spec(suite, suite.data, plan.facts), plan.facts)
    targets = {probe.name: _target(plan, probe, root) for probe in suite.probes}
    runs, measures = dict(plan.runs), dict(plan.measures)
    teachers = source
    if suite.teacher_data and plan.teacher_facts:
        images = data_spec(suite, suite.teacher_data, plan.teacher_facts)
        teachers = Target(suite.teacher_data.name, images, plan.teacher_facts)
    for subject in _subjects(plan, source, teachers):
        for name, target, spec in _measures(suite, subject, targets):
            runs[spec.id] = Run(spec.id, spec, dataset=target.name, facts=target.facts)
            measures[subject.id, name] = spec.id
    probes = (replace(p, incomplete=targets[p.name].facts.incomplete) for p in suite.probes)
    suite = replace(suite, probes=tuple(probes))
    return replace(plan, suite=suite, runs=ordered(runs), measures=measures)


def selection_of(plan: Plan, run: Run) -> Selection:
    """Return the images that a run of a plan uses."""
    return Selection.of(run.specification.data, run.dataset or plan.suite.data.name)


def missing_data(plan: Plan, runs: Iterable[Run], root: Path | None = None) -> list[str]:
    """Return a line for each missing data set that runs need and bench cannot download.

    Args:
        plan: The plan.
        runs: Runs of the plan.
        root: Folder of data sets; None: as in `bench.planning.plan.plan`.
    """
    different = {(id(run.specification.data), run.dataset): run for run in runs}.values()
    names = {(selection := selection_of(plan, run)).name: selection for run in different}
    return [
        f"{name}: {absent}"
        for name, selection in names.items()
        if (absent := data.missing(selection, root))
    ]


def _target(plan: Plan, probe: Probe, root: Path | None) -> Target:
    """Return the images of a probe; by default, they are resized to the suite's image size."""
    size = probe.data.size or plan.facts.size
    selection, suite = replace(probe.data, size=size), plan.suite
    facts = data.facts(selection, root, suite.registry.datasets)
    return Target(selection.name, data_spec(suite, selection, facts), facts)


def _subjects(plan: Plan, students: Target, teachers: Target) -> Iterator[Subject]:
    """Yield the networks in a plan's tables; `students` and `teachers`: their training images."""
    rows: dict[tuple[str, str], list[str]] = {}
    for cell in plan.cells:
        rows.setdefault((cell.pair.name, cell.method.name), []).append(cell.run)
    peers: dict[str, str] = {}
    for row in rows.values():
        for id, peer in zip(row, (*row[1:], row[0]), strict=True):
            if peer != id:
                peers.setdefault(id, peer)
    shown = {id for cell in plan.cells for id in (cell.teacher, cell.run)}
    for id, run in plan.runs.items():
        if id in shown:
            teacher = plan.runs[run.teacher].specification if run.teacher else None
            source = students if run.kind == "student" else teachers
            yield Subject(id, run.specification, teacher, source, peers.get(id))


def _measures(
    suite: Suite, subject: Subject, targets: Mapping[str, Target]
) -> Iterator[tuple[str, Target, RunSpec]]:
    """Yield the name, the images and the specification of each measure of a network.

    `targets` holds the images of each probe, by the probe's name.
    """
    for name, settings in suite.evaluate.items():
        if not subject.allows(name):
            continue
        recipe = Recipe(precision=subject.spec.recipe.precision)
        spec = _spec(suite, subject, subject.source, {"kind": name, **settings}, recipe)
        yield name, subject.source, spec
    for probe in suite.probes if not subject.spec.members else ():
        target = targets[probe.name]
        measure = {"kind": probe.kind, **probe.settings, **_channels(probe, subject, target)}
        spec = _spec(suite, subject, target, measure, _recipe(probe, subject))
        yield f"{PROBE}{probe.name}", target, spec


def _spec(
    suite: Suite, subject: Subject, target: Target, measure: dict[str, Any], recipe: Recipe
) -> RunSpec:
    spec = subject.spec
    names = ("source", "teacher", "options")
    fields = {name: value for name in names if (value := getattr(spec, name))}
    if measure["kind"] in WITH_PEER:
        fields["members"] = [subject.peer]
    networks = {"stages": spec.network}
    if measure["kind"] in WITH_TEACHER and subject.teacher:
        networks["teacher_stages"] = subject.teacher.network
    if measure.get("features") == WITH_STAGES:
        fields |= {key: list(suite.stages[n]) for key, n in networks.items() if n in suite.stages}
    return RunSpec(
        revision=spec.revision,
        data=target.spec,
        network=spec.network,
        recipe=recipe,
        seed=spec.seed,
        subject=subject.id,
        measure={**measure, "classes": subject.source.facts.classes},
        **fields,
    )


def _channels(probe: Probe, subject: Subject, target: Target) -> dict[str, list[float]]:
    """Return the mean and the standard deviation that normalise the images of a probe."""
    owners = {"source": subject.source.facts, "target": target.facts}
    if owner := owners.get(probe.normalise):
        mean, std = owner.mean, owner.std
    else:
        mean, std = CHANNELS[probe.normalise]
    return {"mean": list(mean), "std": list(std)}


def _recipe(probe: Probe, subject: Subject) -> Recipe:
    precision = subject.spec.recipe.precision
    if probe.recipe is None:
        return Recipe(precision=precision)
    changes: dict[str, Any] = {"precision": precision}
    if probe.small_lr and subject.spec.network in SMALL_LR_STUDENTS:
        changes["lr"] = probe.small_lr
    return probe.recipe.changed(changes)
