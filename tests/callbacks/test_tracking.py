"""MLflow on a real SQLite store: it holds what the records hold, and its failures cost nothing."""

import logging
import re
import shlex
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.callbacks import mlflow
from bench.callbacks.mlflow import MLflow
from bench.errors import BenchError
from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.results import Record, Results
from bench.spec import RunSpec
from tests import toy
from tests.command import bench

METHODS = ("student", "kd", "crd")
NOW = "2026-11-21T03:07:00+00:00"


def record(plan: Plan, id: str, status: Any = "done", **details: Any) -> Record:
    """A record of a run of the plan, two epochs long."""
    reason = None if status == "done" else f"{status} at epoch 2"
    tested = {"top1": 50.0, "nll": 1.25}
    timed = {"seconds": 6.0, "shared_seconds": 0.25, "images_per_second": 1e4, "peak_memory": 10**9}
    fields: dict[str, Any] = {
        "network": {"parameters": 78042, "multiply_adds": 12501632},
        "metrics": {"last": tested, "oracle": {**tested, "top1": 52.0, "epoch": 1}},
        "curves": [
            {**timed, "epoch": 1, "lr": 0.05, "loss": 4.0, "terms": {"ce": 3.0, "kd": 1.0}},
            {**timed, "epoch": 2, "lr": 0.005, "loss": None, "terms": {"ce": 2.0}, "test": tested},
        ],
        "environment": {"commit": "abc+", "device": "CPU", "torch": "2"},
        "started": NOW,
        "finished": NOW,
        "seconds": 12.5,
    }
    if plan.runs[id].teacher:
        fields["teacher"] = {"id": plan.runs[id].teacher, "network": "resnet8", "sha256": "f00"}
        fields["teacher"]["top1"] = 60.0
    run = Task(id, plan.names()[id], plan.runs[id].specification)
    return run.record(status, reason, **fields | details)


def cell(plan: Plan, method: str) -> str:
    """The id of the run of a method."""
    return next(cell.run for cell in plan.cells if cell.method.name == method)


class Store:
    """What an MLflow store holds, read back with MLflow's own client."""

    def __init__(self, results: Results) -> None:
        self.client = mlflow.client(mlflow.tracking_uri(results))

    def runs(self, experiment: str = "toy") -> dict[str, Any]:
        """The runs of the experiment by their names, each of which must be there once."""
        id = self.client.get_experiment_by_name(experiment).experiment_id
        runs = list(self.client.search_runs([id]))
        assert len({run.info.run_name for run in runs}) == len(runs)
        return {run.info.run_name: run for run in runs}

    def curve(self, run: Any, name: str) -> list[tuple[int, float]]:
        return [(m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, name)]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the settings of mlflow after each test."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("MLFLOW_DISABLE_TELEMETRY", *mlflow.SETTINGS):
        monkeypatch.setenv(name, mlflow.SETTINGS.get(name, "true"))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return toy.plan(tmp_path_factory.mktemp("suite"), methods="[student, kd, crd]")


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without an experiment: MLflow takes seconds to make kd."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    mlflow.client(f"sqlite:///{path}")
    return path


@pytest.fixture
def results(tmp_path: Path, blank: Path) -> Results:
    """A results folder with an empty store."""
    (tmp_path / "results").mkdir()
    shutil.copy(blank, tmp_path / "results" / "mlflow.db")
    return Results(tmp_path / "results")


@pytest.fixture
def fresh(tmp_path: Path) -> Results:
    """A results folder that is not there yet."""
    return Results(tmp_path / "fresh")


def logged(plan: Plan, results: Results, *records: Record) -> MLflow:
    """A tracker that received these records, as from a runner."""
    tracker = MLflow(plan, results)
    for record in records:
        results.write(record)
        tracker.record(record)
    tracker.log_missing()
    return tracker


@pytest.mark.case("mlflow-names")
def test_record_is_logged_completely(plan: Plan, results: Results) -> None:
    kd = record(plan, cell(plan, "kd"))
    tracker = logged(plan, results, kd)
    assert tracker.warnings == []
    store = Store(results)
    (run,) = store.runs().values()
    assert run.info.run_name == "kd s0 · resnet8/resnet8"
    assert run.info.status == "FINISHED"
    assert run.info.end_time == 1795230420000
    assert run.info.end_time - run.info.start_time == 12_500  # the run's own seconds
    assert run.data.metrics["accuracy"] == 50.0
    experiment = store.client.get_experiment_by_name("toy")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.artifact_location == "mlflow-artifacts:/"  # relative to the server's folder
    expected = {
        "bench.run_id": kd.id,
        "kind": "student",
        "status": "done",
        "pair": "resnet8/resnet8",
        "method": "kd",
        "commit": "abc+",
        "device": "CPU",
        "teacher.sha256": "f00",
    }
    assert expected.items() <= run.data.tags.items()
    assert "reason" not in run.data.tags
    artifact = results.folder / "mlartifacts" / run.info.run_id / "artifacts" / "record.json"
    assert artifact.read_text() == results.file(kd.id).read_text()


def test_params_are_the_flat_specification(plan: Plan, results: Results) -> None:
    crd = record(plan, cell(plan, "crd"))
    logged(plan, results, crd)
    (run,) = Store(results).runs().values()
    spec = crd.specification
    expected = {
        "network": "resnet8",
        "teacher.network": "resnet8",
        "teacher.run": spec.teacher,
        "seed": "0",
        "data.name": "digits",
        "data.per_class": "8",
        "recipe.lr": "0.05",
        "recipe.milestones": "[1]",
        "recipe.flip": "false",
        "method.crd.weight": str(spec.method["crd"].weight),
        "method.crd.negatives": "16",
    }
    assert expected.items() <= run.data.params.items()


def test_metrics_have_epochs_as_steps(plan: Plan, results: Results) -> None:
    logged(plan, results, record(plan, cell(plan, "kd")))
    store = Store(results)
    (run,) = store.runs().values()
    assert store.curve(run, "lr") == [(1, 0.05), (2, 0.005)]
    assert store.curve(run, "loss") == [(1, 4.0)]  # that of epoch 2 was not finite
    assert store.curve(run, "term/ce") == [(1, 3.0), (2, 2.0)]
    assert store.curve(run, "term/kd") == [(1, 1.0)]
    assert store.curve(run, "test/top1") == [(2, 50.0)]
    ends = {"final/top1": 50.0, "final/nll": 1.25, "oracle/top1": 52.0, "oracle/epoch": 1.0}
    ends |= {"parameters": 78042, "multiply_adds": 12501632, "total_seconds": 12.5}
    assert ends.items() <= run.data.metrics.items()


def test_more_metrics_than_a_call_takes_are_all_logged(plan: Plan, results: Results) -> None:
    kd = record(plan, cell(plan, "kd"))
    curves = [{**kd.curves[0].content, "epoch": e, "loss": e / 2} for e in range(1, 401)]
    logged(plan, results, record(plan, kd.id, curves=curves))
    store = Store(results)
    (run,) = store.runs().values()
    assert store.curve(run, "loss") == [(e, e / 2) for e in range(1, 401)]


def test_names_and_long_values_fit_mlflows_limits(plan: Plan, results: Results) -> None:
    id = cell(plan, "kd")
    spec = RunSpec.model_validate({**plan.runs[id].specification.content, "über+name": "y" * 9000})
    metrics = {"last": {"top1@half": 1.0}}
    failed = Task(id, "", spec).record("failed", "x" * 9000, metrics=metrics, finished=NOW)
    assert logged(plan, results, failed).warnings == []
    (run,) = Store(results).runs().values()
    assert run.data.params["_ber_name"] == "y" * 5999 + "…"
    assert run.data.tags["reason"] == "x" * 5999 + "…"
    assert run.data.metrics["final/top1_half"] == 1.0


def test_record_is_logged_once(plan: Plan, results: Results) -> None:
    kd, crd = record(plan, cell(plan, "kd")), record(plan, cell(plan, "crd"))
    logged(plan, results, kd, crd, kd)
    before = {name: run.info.run_id for name, run in Store(results).runs().items()}
    tracker = MLflow(plan, results)  # of another session
    tracker.log_missing()
    assert tracker.warnings == []
    assert {name: run.info.run_id for name, run in Store(results).runs().items()} == before
    assert len(before) == 2


def test_repeated_run_replaces_the_old_entry(plan: Plan, results: Results) -> None:
    kd = cell(plan, "kd")
    logged(plan, results, record(plan, kd, status="failed", curves=[]), record(plan, kd))
    (run,) = Store(results).runs().values()
    assert run.info.status == "FINISHED"
    assert run.data.tags["status"] == "done"
    logged(plan, results, record(plan, kd, seconds=99.0))
    (run,) = Store(results).runs().values()
    assert run.data.metrics["total_seconds"] == 99.0


def test_partial_entry_is_replaced(plan: Plan, results: Results) -> None:
    kd = record(plan, cell(plan, "kd"))
    logged(plan, results, kd)
    store = Store(results)
    (run,) = store.runs().values()
    store.client.delete_tag(run.info.run_id, mlflow.FINGERPRINT)  # it is set last
    logged(plan, results, kd)
    (again,) = store.runs().values()
    assert again.info.run_id != run.info.run_id


@pytest.mark.parametrize("status", ["failed", "diverged", "skipped"])
def test_run_without_a_result_is_failed(plan: Plan, results: Results, status: str) -> None:
    kd = cell(plan, "kd")
    bare = Task(kd, "kd", plan.runs[kd].specification).record(status, "a reason", finished=NOW)
    assert logged(plan, results, bare).warnings == []
    (run,) = Store(results).runs().values()
    assert run.info.status == "FAILED"
    assert {"status": status, "reason": "a reason"}.items() <= run.data.tags.items()


def test_log_missing_logs_unlogged_records(plan: Plan, results: Results) -> None:
    for id in plan.runs:
        results.write(record(plan, id))  # as with --tracker none
    tracker = MLflow(plan, results)
    tracker.log_missing()
    assert tracker.warnings == []
    runs = Store(results).runs()
    assert set(runs) == {"teacher s0 · resnet8", *(f"{m} s0 · resnet8/resnet8" for m in METHODS)}
    assert "teacher.network" not in runs["teacher s0 · resnet8"].data.params
    assert runs["teacher s0 · resnet8"].data.tags["kind"] == "teacher"


def test_store_is_not_opened_again_while_nothing_has_changed(
    plan: Plan, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = list(plan.runs)[:2]
    results.write(record(plan, first))
    MLflow(plan, results).log_missing()
    opened: list[str] = []
    client = mlflow.client
    monkeypatch.setattr(mlflow, "client", lambda uri: opened.append(uri) or client(uri))
    MLflow(plan, results).log_missing()
    assert opened == []
    results.write(record(plan, second))
    tracker = MLflow(plan, results)
    tracker.log_missing()
    assert (len(opened), tracker.added) == (1, 1)
    store = Store(results)
    store.client.delete_run(next(iter(store.runs().values())).info.run_id)
    tracker = MLflow(plan, results)
    tracker.log_missing()
    assert tracker.added == 1


@pytest.mark.slow
def test_second_store_is_a_copy_and_has_its_own_default_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("first", "second", "damaged"):
        (folder := tmp_path / name).mkdir()
        monkeypatch.chdir(folder)
        if name == "damaged":
            (copy,) = (tmp_path / "cache" / "distillbench").glob("mlflow-*.sqlite")
            copy.write_bytes(copy.read_bytes()[:5000])
        client = mlflow.client(f"sqlite:///{folder}/store.db")
        experiments = client.search_experiments()
        assert [e.artifact_location for e in experiments] == [str(folder / "mlruns" / "0")]


def test_nothing_is_created_before_the_first_record(plan: Plan, fresh: Results) -> None:
    tracker = MLflow(plan, fresh)
    tracker.log_missing()
    tracker.closed()
    assert not fresh.folder.exists()


def test_mlflow_is_silent(plan: Plan, fresh: Results, capfd: pytest.CaptureFixture[str]) -> None:
    logged(plan, fresh, record(plan, cell(plan, "kd")))
    assert capfd.readouterr() == ("", "")


def test_unwritable_store_costs_only_a_warning(plan: Plan, fresh: Results) -> None:
    (fresh.folder / "mlflow.db").mkdir(parents=True)
    tracker = logged(plan, fresh, *(record(plan, id) for id in plan.runs))
    (warning,) = tracker.warnings
    assert "mlflow.db" in warning
    assert "the records are complete" in warning
    assert len(list(fresh.records())) == len(plan.runs)


def test_record_that_cannot_be_logged_does_not_stop_the_others(
    plan: Plan, results: Results
) -> None:
    broken = record(plan, cell(plan, "kd"), finished="yesterday")
    (warning,) = logged(plan, results, broken, record(plan, cell(plan, "crd"))).warnings
    assert "ValueError" in warning
    assert set(Store(results).runs()) == {"crd s0 · resnet8/resnet8"}


def test_tracking_uri_names_another_store(
    plan: Plan, fresh: Results, blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(blank, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert logged(plan, fresh, record(plan, cell(plan, "kd"))).warnings == []
    assert len(Store(fresh).runs()) == 1
    assert not (fresh.folder / "mlflow.db").exists()


def test_missing_server_costs_a_warning_without_its_password(
    plan: Plan, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MLflow(plan, results, "http://me:secret@127.0.0.1:9")
    tracker.record(record(plan, cell(plan, "kd")))
    tracker.log_missing()
    (warning,) = tracker.warnings
    assert "http://127.0.0.1:9" in warning
    assert "secret" not in warning


def test_error_without_mlflow_names_the_fix(
    plan: Plan, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(BenchError, match="or use --tracker none"):
        MLflow(plan, results)


def test_ui_needs_a_store(fresh: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="no MLflow store; `bench run SUITE --results"):
        mlflow.ui(fresh)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://example.org")
    with pytest.raises(BenchError, match="https://example.org"):
        mlflow.ui(fresh)


@pytest.mark.case("damaged-mlflow")
@pytest.mark.parametrize("content", [b"not a database", bytes(range(256)) * 40])
def test_a_damaged_store_is_quarantined_and_filled_again(
    plan: Plan, results: Results, content: bytes
) -> None:
    kd = record(plan, cell(plan, "kd"))
    (results.folder / "mlflow.db").write_bytes(content)
    tracker = logged(plan, results, kd)
    assert (tracker.warnings, tracker.added) == ([], 1)
    assert (results.folder / "mlflow.db.corrupt").read_bytes() == content
    assert list(Store(results).runs()) == ["kd s0 · resnet8/resnet8"]


@pytest.mark.case("odd-results-path")
@pytest.mark.parametrize("name", ["odd?x#y", "50% off", "a b", "é#"])
def test_the_store_is_in_a_results_folder_of_any_name(
    plan: Plan, tmp_path: Path, blank: Path, name: str
) -> None:
    results = Results(tmp_path / name)
    results.folder.mkdir()
    shutil.copy(blank, results.folder / "mlflow.db")
    before = set(tmp_path.iterdir())
    tracker = logged(plan, results, record(plan, cell(plan, "kd")))
    assert (tracker.warnings, tracker.added) == ([], 1)
    assert set(tmp_path.iterdir()) == before
    database = sqlite3.connect(results.folder / "mlflow.db")
    assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    database.close()


@pytest.mark.case("damaged-mlflow")
def test_the_command_in_a_warning_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "my suites"
    folder.mkdir()
    plan = api.load_plan(toy.write(folder, methods="[kd]"), ["seeds=[7]"])
    results = Results(tmp_path / "re sults")
    (results.folder / "mlflow.db").mkdir(parents=True)  # cannot be opened
    tracker = logged(plan, results, record(plan, cell(plan, "kd")))
    (warning,) = tracker.warnings
    command = re.search(r"`(bench sync .*?)`", warning)
    assert command
    (results.folder / "mlflow.db").rmdir()
    words = shlex.split(command[1])[1:]
    result = bench(*words)
    assert result.exit_code == 0
    assert "1 record, 1 of them logged now" in result.stdout


@pytest.mark.case("full-disk-sync")
def test_a_full_disk_is_named_with_its_path(
    plan: Plan, results: Results, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = MLflow(plan, results)

    def fail(*_: object, **__: object) -> None:
        logging.getLogger("mlflow.store").error("a long traceback")
        try:
            raise sqlite3.OperationalError("database or disk is full")
        except sqlite3.OperationalError as error:
            raise RuntimeError("mlflow wraps it") from error

    kd = record(plan, cell(plan, "kd"))
    tracker.record(kd)
    monkeypatch.setattr("mlflow.MlflowClient.log_batch", fail)
    tracker.record(record(plan, cell(plan, "student")))
    (warning,) = tracker.warnings
    assert f"{results.folder / 'mlflow.db'}: no space left on device" in warning
    assert "a long traceback" not in "".join(capfd.readouterr())
    assert "a long traceback" in (results.folder / "logs/mlflow.log").read_text()
