"""The verbs as functions, as a notebook calls them."""

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
from bench.errors import BenchError, MissingData, Mistakes
from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.report import build
from bench.results import Results
from tests import toy

HERE = Machine(gpus=(), inline=True)
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")


def claimed(whole: Plan, folder: Path) -> Results:
    """A folder whose records say that all runs of a plan are done."""
    results, names = Results(folder), whole.names()
    metrics = {"last": {"top1": 50.0, "nll": 1.5}}
    for run in whole.runs.values():
        task = Task(run.id, names[run.id], run.specification)
        results.write(task.record("done", None, metrics=metrics))
    return results


def test_run_returns_the_records_of_the_suite(tmp_path: Path) -> None:
    path, folder = toy.write(tmp_path), tmp_path / "results"
    found = bench.run(path, results=folder, machine=HERE)
    assert isinstance(found, pd.DataFrame)
    assert list(found["status"]) == ["done"] * 3
    assert set(found["name"]) == {
        "resnet8 seed 0", "resnet8/resnet8 student seed 0", "resnet8/resnet8 kd seed 0"
    }  # fmt: skip
    assert found["metrics.last.top1"].between(0, 100).all()
    students = found[found["kind"] == "student"]
    assert [len(curve) for curve in students["curves"]] == [2, 2]
    assert students["metrics.last.agreement"].notna().all()
    assert found["environment.torch"].iloc[0] == torch.__version__

    changed = bench.run(path, results=folder, machine=HERE, changes=["recipe.epochs=1"],
                        filters="method=kd")  # fmt: skip
    assert [len(curve) for curve in changed["curves"]] == [1, 1], "the teacher's, and the student's"
    everything = bench.records(folder)
    assert len(everything) == 4
    assert set(found["id"]) | set(changed["id"]) == set(everything["id"])


def test_records_of_no_folder_are_none(tmp_path: Path) -> None:
    assert len(bench.records(tmp_path / "nowhere")) == 0


def test_no_other_names_are_offered() -> None:
    assert bench.__all__ == ["records", "run"]
    with pytest.raises(AttributeError, match="'bench' has no attribute 'runn'"):
        bench.runn  # noqa: B018


def test_a_second_time_there_is_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = toy.plan(tmp_path, methods="[student, crd]", options="{crd: {negatives: 79}}")
    results = toy.run(whole, tmp_path, view="plain")
    first = capsys.readouterr().out
    assert "2 done, 1 skipped" in first
    records = {path: path.stat().st_mtime_ns for path in results.folder.rglob("*.json")}
    assert api.carry_out(whole, results, HERE, view="plain") == []
    assert capsys.readouterr().out == "toy: nothing to do, all 3 runs have their record\n"
    assert {path: path.stat().st_mtime_ns for path in results.folder.rglob("*.json")} == records


def test_missing_data_is_told_before_anything_starts(tmp_path: Path) -> None:
    whole, results = toy.plan(tmp_path, dataset="tiny_imagenet"), Results(tmp_path / "results")
    with pytest.raises(MissingData, match="tiny-imagenet-200"):
        api.carry_out(whole, results, HERE, data_root=tmp_path, view="plain")
    assert not [path for path in (tmp_path / "results").rglob("*") if path.is_file()]


def test_what_is_done_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = toy.plan(tmp_path, dataset="tiny_imagenet")
    results = claimed(whole, tmp_path / "results")
    for overwrite in ("never", "failed"):
        how: dict[str, Any] = {"overwrite": overwrite, "data_root": tmp_path}
        assert api.carry_out(whole, results, HERE, view="plain", **how) == []
    assert capsys.readouterr().out.count("nothing to do") == 2
    assert "50.00" in report.render(build.assemble(whole, results), "txt")
    files = build.write(whole, results)
    assert [path.name for path in files] == ["toy.md", "toy.tex", "toy.csv"]
    files = build.write(whole, results, report.ReportOptions("nll"))
    assert [path.name for path in files] == ["toy-nll.md", "toy-nll.tex", "toy-nll.csv"]


def test_what_is_impossible_is_no_trouble_whoever_asks(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods="[student, crd]", options="{crd: {negatives: 79}}")
    results = toy.run(whole, tmp_path)
    assert api.carry_out(whole, results, HERE, overwrite="never") == []


def test_what_diverged_is_trouble_and_is_not_done_again(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods="{bad: {ce: 1.0e+38}, student: papers}")
    results = Results(tmp_path / "results")
    for _ in range(2):
        (record,) = api.carry_out(whole, results, HERE)
        assert record["status"] == "diverged"
        assert "bad" in record["name"]
    started = record["finished"]
    assert api.carry_out(whole, results, HERE)[0]["finished"] == started


def test_overwrite_does_all_again(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path)
    results = toy.run(whole, tmp_path)
    before = [toy.numbers(results.record(run)) for run in whole.runs]
    teacher = next(iter(whole.runs))
    results.write({**(results.record(teacher) or {}), "metrics": {"last": {"top1": -1.0}}})
    api.carry_out(whole, results, HERE, overwrite="always")
    assert [toy.numbers(results.record(run)) for run in whole.runs] == before


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(BenchError, match="results: cannot be written to"):
        toy.run(toy.plan(tmp_path), tmp_path)


def test_a_plan_of_a_shipped_suite_by_its_name() -> None:
    assert len(api.make_plan("quickstart", ["seeds=[7]"], "method=kd").cells) == 1
    with pytest.raises(Mistakes, match="Did you mean 'quickstart'?"):
        api.make_plan("quikstart")


def test_data_lie_where_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    assert api.root_of(None) is None
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert api.root_of(None) == tmp_path
    assert api.root_of(tmp_path / "own") == tmp_path / "own"


def test_slots_of_a_processor() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Machine(gpus=()).devices() == ["cpu"] * cores
    assert Machine(gpus=(), workers=3).devices() == ["cpu"] * 3
    assert Machine(gpus=(), threads=1000).devices() == ["cpu"]


@needs_no_gpu
def test_a_gpu_that_is_not_there_is_told() -> None:
    assert set(Machine().devices()) == {"cpu"}
    with pytest.raises(BenchError, match="no GPU 1. Allowed: none, for the CPU"):
        Machine(gpus=(1,)).devices()


@pytest.mark.gpu
def test_slots_of_a_gpu() -> None:
    assert Machine(gpus=(0,), per_gpu=2).devices() == ["cuda:0", "cuda:0"]
    with pytest.raises(BenchError, match="no GPU 99. Allowed: 0"):
        Machine(gpus=(0, 99)).devices()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_interrupt_does_not_break_off_the_ending(number: signal.Signals) -> None:
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
    with pytest.raises(KeyboardInterrupt) as stopped, api._terminable():
        work()
    assert ended == ["all"]
    assert stopped.value.args == (number,)
    assert signal.getsignal(number) is before
