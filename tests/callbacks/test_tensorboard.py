"""TensorBoard's files hold what the records hold."""

from pathlib import Path
from typing import Any

import pytest

from bench.callbacks.tensorboard import TensorBoard
from bench.planning.plan import Plan
from bench.results import Results
from tests import toy
from tests.callbacks.test_tracking import cell, record
from tests.command import bench

pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return toy.plan(tmp_path, methods="[student, kd]")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def folders(results: Results) -> list[Path]:
    return sorted((results.folder / "tensorboard/toy").iterdir())


@pytest.mark.filterwarnings("ignore")
def test_curves_and_metrics_are_read_back(plan: Plan, results: Results) -> None:
    tracker, kd = TensorBoard(plan, results), record(plan, cell(plan, "kd"))
    tracker.record(kd)
    (folder,) = folders(results)
    assert folder.name.startswith(f"kd s0 · resnet8_resnet8 {kd.id}-")
    values = scalars(folder)
    assert values["lr"] == [(1, pytest.approx(0.05)), (2, pytest.approx(0.005))]
    assert values["loss"] == [(1, 4.0)]
    assert values["final/top1"] == values["accuracy"] == [(2, 50.0)]
    assert values["total_seconds"] == [(2, 12.5)]


@pytest.mark.filterwarnings("ignore")
def test_a_record_is_logged_once_and_replaced_when_it_changes(plan: Plan, results: Results) -> None:
    kd = record(plan, cell(plan, "kd"))
    for _ in range(2):
        tracker = TensorBoard(plan, results)
        results.write(kd)
        tracker.log_missing()
    assert tracker.added == 0
    tracker.record(toy.changed(kd, seconds=13.0))
    (folder,) = folders(results)
    assert scalars(folder)["total_seconds"] == [(2, 13.0)]


def test_a_folder_that_cannot_be_written_costs_only_a_warning(plan: Plan, results: Results) -> None:
    results.folder.mkdir()
    (results.folder / "tensorboard").write_text("")
    tracker = TensorBoard(plan, results)
    tracker.record(record(plan, cell(plan, "kd")))
    tracker.record(record(plan, cell(plan, "student")))
    (warning,) = tracker.warnings
    assert "the records are complete" in warning


def test_a_bug_of_the_library_costs_only_a_warning(
    plan: Plan, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_text", len)
    tracker = TensorBoard(plan, results)
    tracker.record(record(plan, cell(plan, "kd")))
    (warning,) = tracker.warnings
    assert "TypeError" in warning


@pytest.mark.filterwarnings("ignore")
def test_a_long_name_of_a_method_is_cut(tmp_path: Path, results: Results) -> None:
    name = "m" * 60
    network = "torchvision:shufflenet_v2_x1_0"
    pairs = f"[{{teacher: {network}, student: {network}}}]"
    plan = toy.plan(tmp_path, methods=f"{{{name}: {{ce: 1}}}}", pairs=pairs)
    tracker = TensorBoard(plan, results)
    tracker.record(record(plan, cell(plan, name)))
    assert tracker.warnings == []
    (folder,) = folders(results)
    assert folder.name.startswith(f"{name} s0 · ")
    assert len(folder.name) < 150


@pytest.mark.filterwarnings("ignore")
def test_run_logs_to_tensorboard(here: Path) -> None:
    toy.write(here, methods="[student]")
    options = ("--inline", "--view", "plain", "--tracker", "tensorboard")
    assert bench("run", "toy.yaml", *options).exit_code == 0
    names = [folder.name.split(" ")[0] for folder in folders(Results(here / "results"))]
    assert names == ["student", "teacher"]
    assert not (here / "results/mlflow.db").exists()
