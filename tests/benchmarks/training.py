"""Parts about training steps: each method alone, all in lockstep, the data, evaluation, growth."""

import itertools
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from bench import models
from bench.spec import Recipe
from bench.training.evaluation import EVALUATION_BATCH, autocast, measure, predict
from tests.benchmarks import reference
from tests.benchmarks.ours import Bare, Cohort, kernels
from tests.benchmarks.reference import Pictures, batches, references, told
from tests.benchmarks.rounds import Steps, interleaved, timed
from tests.benchmarks.table import Row, added, over
from tests.benchmarks.workload import Workload

FASTER = "reference / it"
DRAWN = 20  # batches a time: one alone takes too little of it


def alone(load: Workload) -> list[Row]:
    """One run at a time: against the reference, and each method's step against KD's."""
    tasks, methods = load.tasks(), load.chosen
    singles = references(load, methods, load.workers)
    subjects: dict[str, Steps] = {f"{name}, reference": made for name, made in singles.items()}
    inside = references(load, [name for name in ("kd", "crd") if name in methods], 0)
    subjects |= {f"{name}, reference, 0 workers": made for name, made in inside.items()}
    for precision in load.precisions:
        change = f"recipe.precision={precision}"
        subjects[f"bare networks, {precision}"] = Bare(load, change).both
        subjects |= {f"{name}, {precision}": Cohort(load, [name], change) for name in methods}
    found = interleaved(subjects, load)
    rows = [Row("alone", what, found[what]) for what in found if "reference" in what]
    for precision, name in itertools.product(load.precisions, methods):
        gathered = reference.GATHERED.keys() & tasks[name].specification["method"].keys()
        least = "≥ 2.3" if precision == "bf16" else "≥ 5" if gathered else "≥ 1.3"
        what, samples = f"{name}, {precision}", found[f"{name}, {precision}"]
        faster = over(found[f"{name}, reference"], samples)
        rows.append(Row("alone", what, samples, "ms", FASTER, faster, least))
    if "kd" not in methods:
        return rows
    for precision in load.precisions:
        what, kd = f"bare networks, {precision}", found[f"kd, {precision}"]
        faster = over(found["kd, reference"], found[what])
        rows.append(Row("alone", what, found[what], "ms", "kd's reference / it", faster))
        for name in (one for one in methods if one != "kd"):
            what, samples = f"{name}, {precision}", found[f"{name}, {precision}"]
            dearer = over(samples, kd)
            most = "≤ 1.1" if load.gpu else "≤ 1.2"
            rows.append(Row("beside kd", what, samples, "ms", "it / kd", dearer, most))
    return rows


def together(load: Workload) -> list[Row]:
    """All methods in lockstep, against one run after the other and against bare networks."""
    methods, count = load.chosen, len(load.chosen)
    singles = references(load, methods, load.workers)
    subjects: dict[str, Steps] = {f"{name}, reference": made for name, made in singles.items()}
    for precision in load.precisions:
        change = f"recipe.precision={precision}"
        bare = Bare(load, change)
        subjects[f"{count} methods, {precision}"] = Cohort(load, methods, change)
        if load.gpu:
            graphed = Cohort(load, methods, change, graphs=True)
            subjects[f"{count} methods, {precision}, graphs"] = graphed
        subjects[f"bare teacher, {precision}"] = bare.teacher
        subjects[f"bare student, {precision}"] = bare.student
    found = interleaved(subjects, load)
    field = added(*(found[f"{name}, reference"] for name in methods))
    rows = [Row("lockstep", f"{count} methods, reference, one after the other", field)]
    for precision in load.precisions:
        least = "≥ 10" if load.gpu else "≥ 7" if precision == "bf16" else "≥ 4"
        teacher, student = (found[f"bare {who}, {precision}"] for who in ("teacher", "student"))
        floor = added(teacher, *[student] * count)
        rows += [
            Row("lockstep", f"bare teacher, forward, {precision}", teacher),
            Row("lockstep", f"bare student, step, {precision}", student),
            Row("lockstep", f"floor, {precision}", floor, "ms", FASTER, over(field, floor)),
        ]
        for what in (one for one in found if one.startswith(f"{count} methods, {precision}")):
            whole = found[what]
            rows += [
                Row("lockstep", what, whole, "ms", FASTER, over(field, whole), least),
                Row("lockstep", what, whole, "ms", "it / floor", over(whole, floor), "≤ 1.1"),
            ]
    return rows


def data(load: Workload) -> list[Row]:
    """Cutting, turning and normalising a batch, beside a step."""
    rows = []
    for precision in load.precisions:
        cohort = Cohort(load, ["kd"], f"recipe.precision={precision}")

        def drawn(count: int, cohort: Cohort = cohort) -> None:
            for _ in range(count * DRAWN):
                next(cohort.stream)

        found = interleaved({"batches": drawn, "step": cohort}, load)
        batch = [ms / DRAWN for ms in found["batches"]]
        ratios = over(batch, found["step"])
        what = f"a batch, {precision}"
        rows.append(Row("data", what, batch, "ms", "it / step of kd", ratios, "≤ 0.03"))
    return rows


def evaluation(load: Workload) -> list[Row]:
    """The test set through the student, with all metrics, in images a second."""
    facts, cohort = load.data.facts, Cohort(load, load.chosen[:1])
    net, plain = cohort.learners[0].net, models.build(load.student, facts.classes).to(load.device)
    batch = cohort.recipe.batch_size // 2
    tests = batches(Pictures(load.data, "test"), batch, load.workers // 2, shuffle=False)
    shape = min(EVALUATION_BATCH[load.device.type], facts.test), 3, facts.size, facts.size
    images = torch.randn(shape, device=load.device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def field() -> None:
        plain.eval()
        for held in tests:
            image, label, _ = (part.to(load.device) for part in held)
            logits = plain(image).logits
            told(F.cross_entropy(logits, label), logits, label)

    def ours(precision: str) -> None:
        recipe = Recipe(precision=precision)
        with kernels(recipe):
            measure(*predict(net, load.data, "test", recipe))

    @torch.no_grad()
    def bare(precision: str) -> None:
        net.eval()
        recipe = Recipe(precision=precision)
        with kernels(recipe), autocast(load.device, recipe):
            for start in range(0, facts.test, len(images)):
                net(images[: facts.test - start])

    calls: dict[str, Callable[[], object]] = {"reference": field}
    for one in load.precisions:
        calls |= {one: partial(ours, one), f"{one}, bare forward passes": partial(bare, one)}
    speed: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(load.rounds):
        for name, call in calls.items():
            speed[name].append(facts.test / timed(call, load))
    return [
        Row("evaluation", name, samples, "images/s", "it / reference",
            over(samples, speed["reference"]))
        for name, samples in speed.items()
    ]  # fmt: skip


def growth(load: Workload) -> list[Row]:
    """A step's time against the number of methods and seeds, the batch, and CRD's negatives."""
    methods = list(load.tasks())
    counts = sorted({1, 2, 4, 8, len(methods)} & set(range(1, len(methods) + 1)))
    axes: dict[str, dict[str, Steps]] = {
        "methods": {str(n): Cohort(load, methods[:n]) for n in counts},
        "seeds of kd": {str(n): seeds(load, n) for n in (1, 2, 4)},
        "batch of kd": {
            str(n): Cohort(load, ["kd"], f"recipe.batch_size={n}") for n in (16, 32, 64, 128, 256)
        },
        "negatives of crd": {
            str(n): Cohort(load, ["crd"], f"options.crd.negatives={n}") for n in negatives(load)
        },
    }
    rows = []
    for axis, subjects in axes.items():
        found = interleaved(subjects, load)
        first = next(iter(found.values()))
        for value, samples in found.items():
            to = f"it / {next(iter(found))}"
            rows.append(Row(f"growth: {axis}", value, samples, "ms", to, over(samples, first)))
    return rows


def seeds(load: Workload, count: int) -> Steps:
    """A batch of KD for each of so many seeds, which share nothing, not even a batch."""
    cohorts = [Cohort(load, ["kd"], f"seeds=[{seed}]") for seed in range(count)]

    def in_turn(steps: int) -> None:
        for cohort in cohorts:
            cohort(steps)

    return in_turn


def negatives(load: Workload) -> list[int]:
    most = load.tasks()["crd"].specification["method"]["crd"]["options"]["negatives"]
    return sorted({max(1, most // 4**n) for n in range(4)})
