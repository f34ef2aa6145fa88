"""`bench.run`, `bench.records` and the functions behind the verbs, as a notebook calls them."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import bench
from bench import api, report
from bench.api import Machine
from bench.errors import BenchError, ConfigError, MissingData
from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.report import build
from bench.results import Results
from tests import toy

HERE = Machine(gpus=(), inline=True)
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")


def claimed(plan: Plan, folder: Path) -> Results:
    """A folder with a record of each run of a plan, all done."""
    results, names = Results(folder), plan.names()
    metrics = {"last": {"top1": 50.0, "nll": 1.5}}
    for run in plan.runs.values():
        task = Task(run.id, names[run.id], run.specification)
        results.write(task.record("done", None, metrics=metrics))
    return results


def test_run_returns_the_records_of_the_suite(tmp_path: Path) -> None:
    path, folder = toy.write(tmp_path), tmp_path / "results"
    frame = bench.run(path, results=folder, machine=HERE)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["status"]) == ["done"] * 3
    assert set(frame["name"]) == {
        "resnet8 seed 0", "resnet8/resnet8 student seed 0", "resnet8/resnet8 kd seed 0"
    }  # fmt: skip
    assert frame["metrics.last.top1"].between(0, 100).all()
    students = frame[frame["kind"] == "student"]
    assert [len(curve) for curve in students["curves"]] == [2, 2]
    assert students["metrics.last.agreement"].notna().all()
    assert frame["environment.torch"].iloc[0] == torch.__version__

    changed = bench.run(path, results=folder, machine=HERE, changes=["recipe.epochs=1"],
                        filters="method=kd")  # fmt: skip
    assert [len(curve) for curve in changed["curves"]] == [1, 1], "the teacher's, and the student's"
    everything = bench.records(folder)
    assert len(everything) == 4
    assert set(frame["id"]) | set(changed["id"]) == set(everything["id"])


def test_records_of_an_empty_folder_are_empty(tmp_path: Path) -> None:
    assert len(bench.records(tmp_path)) == 0


def test_public_names_are_records_and_run() -> None:
    assert bench.__all__ == ["compare", "forest", "records", "run", "table"]
    with pytest.raises(AttributeError, match="'bench' has no attribute 'runn'"):
        bench.runn  # noqa: B018


def test_execute_twice_does_nothing_the_second_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = toy.plan(tmp_path, methods="[student, crd]", options="{crd: {negatives: 79}}")
    results = toy.run(plan, tmp_path, view="plain")
    first = capsys.readouterr().out
    assert "2 done, 1 skipped" in first
    records = {path: path.stat().st_mtime_ns for path in results.folder.rglob("*.json")}
    assert api.execute(plan, results, HERE, view="plain") == []
    assert capsys.readouterr().out == "toy: nothing to do, all 3 runs have a record\n"
    assert {path: path.stat().st_mtime_ns for path in results.folder.rglob("*.json")} == records


def test_missing_data_is_reported_before_anything_starts(tmp_path: Path) -> None:
    plan, results = toy.plan(tmp_path, dataset="tiny_imagenet"), Results(tmp_path / "results")
    with pytest.raises(MissingData, match="tiny-imagenet-200"):
        api.execute(plan, results, HERE, data_root=tmp_path, view="plain")
    assert not [path for path in (tmp_path / "results").rglob("*") if path.is_file()]


def test_finished_runs_need_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = toy.plan(tmp_path, dataset="tiny_imagenet")
    results = claimed(plan, tmp_path / "results")
    for overwrite in ("never", "failed"):
        how: dict[str, Any] = {"overwrite": overwrite, "data_root": tmp_path}
        assert api.execute(plan, results, HERE, view="plain", **how) == []
    assert capsys.readouterr().out.count("nothing to do") == 2
    assert "50.00" in report.render(build.assemble(plan, results), "txt")
    files = build.write(plan, results)
    assert [path.name for path in files] == ["toy.md", "toy.tex", "toy.csv"]
    files = build.write(plan, results, report.ReportOptions("nll"))
    assert [path.name for path in files] == ["toy-nll.md", "toy-nll.tex", "toy-nll.csv"]


def test_impossible_run_is_not_unfinished(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student, crd]", options="{crd: {negatives: 79}}")
    results = toy.run(plan, tmp_path)
    assert api.execute(plan, results, HERE, overwrite="never") == []


def test_diverged_run_is_unfinished_and_not_repeated(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="{bad: {ce: 1.0e+38}, student: papers}")
    results = Results(tmp_path / "results")
    for _ in range(2):
        (record,) = api.execute(plan, results, HERE)
        assert record.status == "diverged"
        assert "bad" in record.name
    assert api.execute(plan, results, HERE)[0].finished == record.finished


def test_overwrite_always_repeats_every_run(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    results = toy.run(plan, tmp_path)
    before = [toy.numbers(results.record(run)) for run in plan.runs]
    teacher = next(iter(plan.runs))
    record = results.record(teacher)
    assert record is not None
    results.write(toy.changed(record, metrics={"last": {"top1": -1.0}}))
    api.execute(plan, results, HERE, overwrite="always")
    assert [toy.numbers(results.record(run)) for run in plan.runs] == before


def test_unwritable_results_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(BenchError, match="results: cannot be written to"):
        toy.run(toy.plan(tmp_path), tmp_path)


def test_load_plan_finds_a_shipped_suite_by_name() -> None:
    assert len(api.load_plan("quickstart", ["seeds=[7]"], "method=kd").cells) == 1
    with pytest.raises(ConfigError, match="Did you mean 'quickstart'?"):
        api.load_plan("quikstart")


def test_data_root_comes_from_argument_or_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    assert api.find_data_root(None) is None
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert api.find_data_root(None) == tmp_path
    assert api.find_data_root(tmp_path / "own") == tmp_path / "own"


def test_cpu_slots_follow_workers_and_threads() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Machine(gpus=()).devices() == ["cpu"] * cores
    assert Machine(gpus=(), workers=3).devices() == ["cpu"] * 3
    assert Machine(gpus=(), threads=1000).devices() == ["cpu"]


@needs_no_gpu
def test_missing_gpu_is_an_error() -> None:
    assert set(Machine().devices()) == {"cpu"}
    with pytest.raises(BenchError, match="no GPU 1. Allowed: none .the CPU."):
        Machine(gpus=(1,)).devices()


@pytest.mark.gpu
def test_gpu_slots_follow_per_gpu() -> None:
    assert Machine(gpus=(0,), per_gpu=2).devices() == ["cuda:0", "cuda:0"]
    with pytest.raises(BenchError, match="no GPU 99. Allowed: 0"):
        Machine(gpus=(0, 99)).devices()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_does_not_interrupt_the_shutdown(number: signal.Signals) -> None:
    ended: list[str] = []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            ended.append("all")

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stopped, api.stop_on_sigterm():
        work()
    assert ended == ["all"]
    assert stopped.value.args == (number,)
    assert signal.getsignal(number) is before
