"""Parts `alone`, `lockstep`, `graphs`, `data`, `evaluation` and `growth`."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F

from bench import models
from bench.spec import Recipe
from bench.training.evaluation import EVALUATION_BATCH, autocast, measure, predict
from tests.benchmarks import reference
from tests.benchmarks.ours import BareNetworks, CohortSteps, kernels
from tests.benchmarks.reference import PILImages, batch_statistics, batches, references
from tests.benchmarks.table import Row, add, divide
from tests.benchmarks.timing import Steps, time_call, time_subjects
from tests.benchmarks.workload import Workload

SPEED_UP = "reference / this"
BATCHES_PER_STEP = 20  # of the data; a single batch is too short to time


def alone(load: Workload) -> list[Row]:
    """Time one run at a time, against the reference and against KD."""
    methods = load.selected
    runs = references(load, methods, load.workers)
    subjects: dict[str, Steps] = {f"{name}, reference": run for name, run in runs.items()}
    without_workers = references(load, [name for name in ("kd", "crd") if name in methods], 0)
    subjects |= {f"{name}, reference, 0 workers": run for name, run in without_workers.items()}
    for precision in load.precisions:
        change = f"recipe.precision={precision}"
        subjects[f"bare networks, {precision}"] = BareNetworks(load, change).both
        subjects |= {f"{name}, {precision}": CohortSteps(load, [name], change) for name in methods}
    times = time_subjects(subjects, load)
    rows = [Row("alone", what, times[what]) for what in times if "reference" in what]
    rows += rows_against_reference(load, times)
    if "kd" in methods:
        rows += rows_against_kd(load, times)
    return rows


def rows_against_reference(load: Workload, times: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return each method's speed-up over the reference."""
    tasks, rows = load.tasks(), []
    for precision, name in itertools.product(load.precisions, load.selected):
        gathered = reference.GATHERED.keys() & tasks[name].specification.method.keys()
        target = "≥ 2.3" if precision == "bf16" else "≥ 5" if gathered else "≥ 1.3"
        what, samples = f"{name}, {precision}", times[f"{name}, {precision}"]
        faster = divide(times[f"{name}, reference"], samples)
        rows.append(Row("alone", what, samples, "ms", SPEED_UP, faster, target))
    return rows


def rows_against_kd(load: Workload, times: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return the bare networks' speed-up over KD's reference, and each method's time over KD's."""
    rows = []
    for precision in load.precisions:
        what, kd = f"bare networks, {precision}", times[f"kd, {precision}"]
        faster = divide(times["kd, reference"], times[what])
        rows.append(Row("alone", what, times[what], "ms", "kd's reference / this", faster))
        for name in (name for name in load.selected if name != "kd"):
            what, samples = f"{name}, {precision}", times[f"{name}, {precision}"]
            target = "≤ 1.1" if load.gpu else "≤ 1.2"
            rows.append(Row("vs kd", what, samples, "ms", "this / kd", divide(samples, kd), target))
    return rows


def lockstep(load: Workload) -> list[Row]:
    """Time all methods in lockstep, against one run after another and against bare networks."""
    methods, count = load.selected, len(load.selected)
    runs = references(load, methods, load.workers)
    subjects: dict[str, Steps] = {f"{name}, reference": run for name, run in runs.items()}
    for precision in load.precisions:
        change = f"recipe.precision={precision}"
        bare = BareNetworks(load, change)
        subjects[f"{count} methods, {precision}"] = CohortSteps(load, methods, change)
        subjects[f"bare teacher, {precision}"] = bare.teacher
        subjects[f"bare student, {precision}"] = bare.student
    times = time_subjects(subjects, load)
    field = add(*(times[f"{name}, reference"] for name in methods))
    rows = [Row("lockstep", f"{count} methods, reference, one after the other", field)]
    for precision in load.precisions:
        target = "≥ 10" if load.gpu else "≥ 7" if precision == "bf16" else "≥ 4"
        teacher, student = (times[f"bare {role}, {precision}"] for role in ("teacher", "student"))
        floor = add(teacher, *[student] * count)
        rows += [
            Row("lockstep", f"bare teacher, forward, {precision}", teacher),
            Row("lockstep", f"bare student, step, {precision}", student),
            Row("lockstep", f"floor, {precision}", floor, "ms", SPEED_UP, divide(field, floor)),
        ]
        for what in (name for name in times if name.startswith(f"{count} methods, {precision}")):
            ours = times[what]
            rows += [
                Row("lockstep", what, ours, "ms", SPEED_UP, divide(field, ours), target),
                Row("lockstep", what, ours, "ms", "this / floor", divide(ours, floor), "≤ 1.1"),
            ]
    return rows


def graphs(load: Workload) -> list[Row]:
    """Time steps in CUDA graphs against eager ones: KD, CRD and all methods, and CRD against KD.

    On a CPU, an emulation of the graphs runs, to check this part.
    """
    cohorts = {name: [name] for name in ("kd", "crd") if name in load.selected}
    cohorts[f"{len(load.selected)} methods"] = load.selected
    subjects: dict[str, Steps] = {}
    for precision, (name, methods) in itertools.product(load.precisions, cohorts.items()):
        change = f"recipe.precision={precision}"
        subjects[f"{name}, {precision}, eager"] = CohortSteps(load, methods, change)
        subjects[f"{name}, {precision}, graphs"] = CohortSteps(load, methods, change, graphs=True)
    times, rows = time_subjects(subjects, load), []
    for what, samples in times.items():
        name, rest = what.split(", ", 1)
        eager = what.replace("graphs", "eager")
        ratios = "eager / this", divide(times[eager], samples)
        rows.append(Row("graphs", what, samples, "ms", *(ratios if what != eager else ())))
        if name == "crd" and f"kd, {rest}" in times:
            ratio = divide(samples, times[f"kd, {rest}"])
            rows.append(Row("vs kd", what, samples, "ms", "this / kd", ratio, "≤ 1.1"))
    return rows


def data(load: Workload) -> list[Row]:
    """Time the cropping, flipping and normalising of a batch, against a step."""
    rows = []
    for precision in load.precisions:
        cohort = CohortSteps(load, ["kd"], f"recipe.precision={precision}")

        def draw(count: int, cohort: CohortSteps = cohort) -> None:
            for _ in range(count * BATCHES_PER_STEP):
                next(cohort.stream)

        times = time_subjects({"batches": draw, "step": cohort}, load)
        batch = [ms / BATCHES_PER_STEP for ms in times["batches"]]
        share = divide(batch, times["step"])
        what = f"a batch, {precision}"
        rows.append(Row("data", what, batch, "ms", "this / KD's step", share, "≤ 0.03"))
    return rows


def evaluation(load: Workload) -> list[Row]:
    """Measure images a second of the student on the test set, with all metrics."""
    facts, cohort = load.data.facts, CohortSteps(load, load.selected[:1])
    network = cohort.learners[0].net
    plain = models.build(load.student, facts.classes).to(load.device)
    batch = cohort.recipe.batch_size // 2
    loader = batches(PILImages(load.data, "test"), batch, load.workers // 2, shuffle=False)
    shape = min(EVALUATION_BATCH[load.device.type], facts.test), 3, facts.size, facts.size
    images = torch.randn(shape, device=load.device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def evaluate_reference() -> None:
        plain.eval()
        for tensors in loader:
            image, label, _ = (tensor.to(load.device) for tensor in tensors)
            logits = plain(image).logits
            batch_statistics(F.cross_entropy(logits, label), logits, label)

    def evaluate_ours(precision: str) -> None:
        recipe = Recipe(precision=precision)
        with kernels(recipe):
            measure(*predict(network, load.data, "test", recipe))

    @torch.no_grad()
    def run_bare(precision: str) -> None:
        network.eval()
        recipe = Recipe(precision=precision)
        with kernels(recipe), autocast(load.device, recipe):
            for start in range(0, facts.test, len(images)):
                network(images[: facts.test - start])

    calls: dict[str, Callable[[], object]] = {"reference": evaluate_reference}
    for precision in load.precisions:
        calls[precision] = partial(evaluate_ours, precision)
        calls[f"{precision}, bare forward passes"] = partial(run_bare, precision)
    speed: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(load.rounds):
        for name, call in calls.items():
            speed[name].append(facts.test / time_call(call, load))
    return [
        Row("evaluation", name, samples, "images/s", "this / reference",
            divide(samples, speed["reference"]))
        for name, samples in speed.items()
    ]  # fmt: skip


def growth(load: Workload) -> list[Row]:
    """Time a step by the number of methods and seeds, the batch size, and CRD's negatives."""
    methods = list(load.tasks())
    counts = sorted({1, 2, 4, 8, len(methods)} & set(range(1, len(methods) + 1)))
    axes: dict[str, dict[str, Steps]] = {
        "methods": {str(n): CohortSteps(load, methods[:n]) for n in counts},
        "seeds of kd": {str(n): seeds(load, n) for n in (1, 2, 4)},
        "batch of kd": {
            str(n): CohortSteps(load, ["kd"], f"recipe.batch_size={n}")
            for n in (16, 32, 64, 128, 256)
        },
        "negatives of crd": {
            str(n): CohortSteps(load, ["crd"], f"options.crd.negatives={n}")
            for n in negatives(load)
        },
    }
    rows = []
    for axis, subjects in axes.items():
        times = time_subjects(subjects, load)
        smallest, smallest_times = next(iter(times.items()))
        for value, samples in times.items():
            ratio, growth = f"this / {smallest}", divide(samples, smallest_times)
            rows.append(Row(f"growth: {axis}", value, samples, "ms", ratio, growth))
    return rows


def seeds(load: Workload, count: int) -> Steps:
    """Return steps of KD for `count` seeds, which share nothing, not even a batch."""
    cohorts = [CohortSteps(load, ["kd"], f"seeds=[{seed}]") for seed in range(count)]

    def in_turn(steps: int) -> None:
        for cohort in cohorts:
            cohort(steps)

    return in_turn


def negatives(load: Workload) -> list[int]:
    """Return the numbers of negatives to time: the suite's, a quarter, a sixteenth, a 64th."""
    largest = load.tasks()["crd"].specification.method["crd"].options["negatives"]
    return sorted({max(1, largest // 4**n) for n in range(4)})
