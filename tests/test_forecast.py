"""`bench plan` tells the time, memory and disk of the runs to do."""

import time
from pathlib import Path

import pytest
import torch

from bench import api
from bench.api import Machine
from bench.cli.plan import duration
from bench.forecast import forecast
from bench.planning.estimate import estimate
from bench.planning.measure_work import FIT_START, FIT_WIDTH, FIT_WORK
from bench.planning.plan import Plan
from bench.rates import measure_rates, planned_key, recorded_rates
from bench.results import Results
from bench.results.environment import device_name
from bench.training.trainer import Trainer
from tests import toy
from tests.command import bench
from tests.records import make_epoch, make_record

CPU = torch.device("cpu")


def predict(plan: Plan, results: Results, slots: int = 1, *, measured: bool = False):  # type: ignore[no-untyped-def]
    runs, places = list(plan.runs.values()), ["cpu"] * slots
    return forecast(plan, runs, estimate(plan), results, places, measured=measured)


def test_without_records_the_time_is_unknown(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student, kd]")
    needs = predict(plan, Results(tmp_path / "none"))
    assert needs.seconds is None
    assert needs.memory > 12 * 78_042  # weights, gradients and momentum of a network
    assert needs.disk > 3 * 4 * 78_042


def test_bytes_of_kept_outputs_are_those_of_the_files(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[kd]", seeds="[0, 1]")
    kept = predict(plan, Results(tmp_path)).kept
    assert kept == 4 * 2 * 2 * 80 * (10 + 64)  # seeds, epochs, images, logits and pooled features
    results = Results(tmp_path / "results")
    api.execute(plan, results, Machine(gpus=(), inline=True, keep_teacher=True))
    files = list(results.teacher_outputs.glob("*.npy"))
    assert sum(file.stat().st_size for file in files) == kept + 128 * len(files)  # headers


def test_records_of_another_device_are_not_used(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student, kd]")
    results = toy.run(plan, tmp_path)
    assert len(recorded_rates(results, device_name(CPU))) == 3
    assert recorded_rates(results, "NVIDIA H200") == {}


def test_shared_seconds_of_a_cohort_are_counted_once(tmp_path: Path) -> None:
    """Two runs of one cohort train 10 s each, and share 20 s; it takes 40 s in all."""
    results = Results(tmp_path)
    epoch = make_epoch(1, seconds=10.0, shared_seconds=20.0, images_per_second=10.0)
    begin, end = "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:40+00:00"
    for run in ("a", "b"):
        results.write(
            make_record(
                run, seconds=10.0, started=begin, finished=end, curves=[epoch],
                environment={"device": "x"},
            )
        )  # fmt: skip
    [rates] = recorded_rates(results, "x").values()
    assert (rates.training, rates.shared) == pytest.approx((0.1, 0.2))  # of 100 images


def test_recorded_rates_scale_with_epochs_and_seeds(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student, kd]")
    results = toy.run(plan, tmp_path)
    more = toy.plan(tmp_path, methods="[student, kd]", seeds="[1, 2, 3, 4]")
    longer = api.load_plan(tmp_path / "toy.yaml", ["recipe.epochs=2000"])
    few, many, slow = (predict(p, results).seconds for p in (plan, more, longer))
    assert few is not None
    assert few < many < slow  # type: ignore[operator]
    assert predict(longer, results, slots=2).seconds < slow  # type: ignore[operator]


def test_a_method_without_a_record_is_estimated_by_its_work(tmp_path: Path) -> None:
    results = toy.run(toy.plan(tmp_path, methods="[student]"), tmp_path)
    plan = toy.plan(tmp_path, methods="[student, kd]")
    needs = predict(plan, results)
    assert (needs.unknown, needs.seconds is None) == (1, False)


DIGITS = "dataset: {name: digits, per_class: 9, test_per_class: 6}"
MEASURES = {
    "probes": f"{{line: {{{DIGITS}}}, near: {{{DIGITS}, kind: knn, features: stages}}, "
    f"all: {{{DIGITS}, kind: finetune, recipe: {{epochs: 5, crop: 0}}}}}}",
    "evaluate": "{corrupted: {types: [blur, contrast], severities: [1, 3]}, calibration: true, "
    "cka: pooled}",
}


def test_the_work_of_a_measure_is_its_images_and_its_fit(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[kd]", **MEASURES)
    estimates = estimate(plan)
    [cell] = plan.cells
    work = {
        name: estimates[id].work(plan.runs[id], plan.facts.train)
        for (subject, name), id in plan.measures.items()
        if subject == cell.run
    }
    network = estimates[cell.run].network
    assert network is not None
    image = network.multiply_adds
    train, test, near, far = 80, 50, 90, 60  # images of the suite, and of the probes
    assert train == plan.facts.train
    expected = {
        "probe.line": (near + far) * image + FIT_WORK * near * 10 * (64 + FIT_WIDTH) + FIT_START,
        "probe.near": (near + far) * image + near * far * (64 + 16 + 32 + 64),
        "probe.all": (5 * 3 * near + 5 * far) * image,
        "corrupted": 4 * test * image,
        "calibration": test * image,
        "cka": 2 * test * image,
    }
    assert work == pytest.approx(expected)


def test_the_forecast_counts_measures(tmp_path: Path) -> None:
    results = toy.run(toy.plan(tmp_path, methods="[student, kd]"), tmp_path)
    plan = toy.plan(tmp_path, methods="[student, kd]", **MEASURES)
    runs = [run for run in plan.runs.values() if run.kind == "probe"]
    costs, places = estimate(plan), ["cpu"]
    before = forecast(plan, runs, costs, results, places)
    assert before.unknown == len(runs)
    fits = 3 * FIT_START  # of three networks; small images need little else
    assert before.seconds is not None
    assert before.seconds > fits / 1e12
    toy.run(plan, tmp_path)
    after = forecast(plan, runs, costs, results, places)
    spent = sum(record.seconds for run in runs if (record := results.summary(run.id)))
    assert after.unknown == 0
    assert after.seconds is not None
    assert spent <= after.seconds


def test_a_measurement_has_a_rate_for_each_kind_of_run(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student, kd, crd]", seeds="[0, 1]")
    runs = list(plan.runs.values())
    rates = measure_rates(plan, runs, CPU)
    assert set(rates) == {planned_key(plan, run) for run in runs}
    assert len(rates) == 4
    assert all(rate.training > 0 and rate.evaluation > 0 for rate in rates.values())


def test_measured_steps_have_the_strong_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, step = set(), Trainer.step

    def record(trainer, images, teacher, batch, strong=None):  # type: ignore[no-untyped-def]
        views.add((trainer.task.specification.epochs, strong is None, teacher[0].strong is None))
        step(trainer, images, teacher, batch, strong)

    monkeypatch.setattr(Trainer, "step", record)
    for method, is_weak in (("kd", True), ("mlkd", False)):
        plan = toy.plan(tmp_path, methods=f"[{method}]")
        students = [run for run in plan.runs.values() if run.kind == "student"]
        measure_rates(plan, students, CPU)
        assert views == {(2, is_weak, is_weak)}
        views.clear()


@pytest.mark.slow
def test_methods_with_a_stage_or_optional_features_are_measured(tmp_path: Path) -> None:
    methods, options = "[ft, ofd, ab]", "{ft: {pretraining_epochs: 3}}"
    plan = toy.plan(tmp_path, methods=methods, options=options)
    runs = list(plan.runs.values())
    rates = measure_rates(plan, runs, CPU)
    assert set(rates) == {planned_key(plan, run) for run in runs}
    assert all(rate.training > 0 for rate in rates.values())


@pytest.mark.slow
def test_the_epochs_of_a_stage_take_time(tmp_path: Path) -> None:
    times = []
    for epochs in (3, 3_000_000):
        plan = toy.plan(
            tmp_path, methods="[fsp]", options=f"{{fsp: {{pretraining_epochs: {epochs}}}}}"
        )
        times.append(predict(plan, Results(tmp_path / "none"), measured=True).seconds)
    assert times[1] > 10 * times[0]


def test_plan_shows_the_forecast(here: Path) -> None:
    plan = toy.plan(here, methods="[student]")
    assert "time: unknown; `bench plan --measure` finds it" in bench("plan", "toy.yaml").stdout
    toy.run(plan, here)
    toy.write(here, methods="[student]", seeds="[1]")
    assert " kinds of runs recorded on CPU" in " ".join(bench("plan", "toy.yaml").stdout.split())


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (180, "3 min"), (18_720, "5.2 h"), (5_000, "83 min")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.slow
def test_the_forecast_of_the_quickstart_is_near_what_run_takes(here: Path) -> None:
    changes = ["recipe.epochs=10", "recipe.milestones=[8]", "seeds=[0, 1]"]
    plan, results = api.load_plan("quickstart", changes), Results(here / "results")
    machine = Machine(gpus=(), workers=1)
    needs = predict(plan, results, measured=True)
    begin = time.perf_counter()
    api.execute(plan, results, machine)
    took = time.perf_counter() - begin
    assert needs.seconds is not None
    assert took / 3 < needs.seconds < 3 * took  # the machine of a test is shared: 1.5 when quiet
