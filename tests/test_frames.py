"""Data frames for `bench.table` and `bench.compare`: parts, copies, none; LaTeX of any width."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import bench
from bench.errors import BenchError
from bench.results import Results
from tests import toy
from tests.command import ROOT
from tests.command import bench as command
from tests.data.toys import image_folder

QUICKSTART = ROOT / "results/quickstart"
PLAIN = ["method", "label", "pair", "teacher", "student", "seed", "role", "status", "top1"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return bench.records(QUICKSTART)


@pytest.mark.case("plain-columns")
def test_metrics_precede_the_id_also_after_a_record_without_metrics(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.write(toy.record("a", status="failed", reason="no memory", metrics={}))
    results.write(toy.record("b", metrics={"last": {"top1": 50.0, "nll": 1.0}}))
    columns = list(bench.records(tmp_path).columns)
    assert columns[: len(PLAIN) + 4] == [*PLAIN, "nll", "seconds", "id", "results"]


@pytest.mark.case("plain-columns")
def test_no_records_have_the_plain_columns(tmp_path: Path) -> None:
    empty = bench.records(tmp_path)
    assert list(empty.columns)[: len(PLAIN)] == PLAIN
    assert empty.pivot_table(index="method", columns="pair", values="top1").empty
    with pytest.raises(BenchError, match="no student's run"):
        bench.table(empty)
    with pytest.raises(BenchError, match="before: no records"):
        bench.compare(empty, QUICKSTART)


@pytest.mark.case("plain-columns")
def test_a_frame_without_needed_columns_is_refused(frame: pd.DataFrame) -> None:
    part = frame[["method", "pair", "seed", "top1"]]
    with pytest.raises(BenchError, match="no column label, teacher, student, role"):
        bench.table(part)
    with pytest.raises(BenchError, match="no column id, results"):
        bench.compare(part, frame)


@pytest.mark.case("plain-columns")
def test_the_same_row_twice_counts_once(frame: pd.DataFrame) -> None:
    twice = bench.table(pd.concat([frame, frame]))
    assert twice.to_frame().equals(bench.table(frame).to_frame())
    plain = frame[[*PLAIN, "id", "results"]].sample(frac=1, random_state=0)
    assert str(bench.table(plain)) == str(bench.table(frame))


@pytest.mark.case("plain-columns")
def test_the_same_runs_of_two_folders_are_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(QUICKSTART / "runs", copy / "runs")
    both = bench.records([QUICKSTART, copy])
    with pytest.raises(BenchError, match=r"in .*quickstart, .*copy\. Select one folder"):
        bench.table(both)
    assert str(bench.table(both[both["results"] == str(copy)])) == str(bench.table(frame))
    shutil.rmtree(copy)
    with pytest.raises(BenchError, match="no such record; read the records again"):
        bench.table(both[both["results"] == str(copy)])


@pytest.mark.case("wide-tables")
def test_correlations_of_a_folder_of_images(tmp_path: Path) -> None:
    image_folder(tmp_path / "images", {split: {"a": 8, "b": 8} for split in ("train", "test")})
    path = toy.write(
        tmp_path, dataset='{name: "folder:images", size: 16}', methods="[kd]", recipe="{epochs: 1}"
    )
    results = tmp_path / "results"
    arguments = [path, "--results", results, "--data-root", tmp_path]
    ran = command("run", *arguments, "--inline", "--gpus", "none", "--tracker", "none")
    assert ran.exit_code == 0, ran.stderr
    drawn = command("figures", *arguments, "--which", "correlation")
    assert drawn.exit_code == 0, drawn.stderr
    assert "KD: mean |Δ| = " in drawn.stdout


@pytest.mark.case("plain-columns")
@pytest.mark.parametrize("source", [3, None, ["toy.yaml"]])
def test_other_objects_than_frames_and_paths_are_refused(
    source: object, frame: pd.DataFrame
) -> None:
    with pytest.raises(BenchError, match=r"found \w+. Allowed: a path, or a data frame"):
        bench.table(source)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match=r"found \w+. Allowed: a path, or a data frame"):
        bench.compare(frame, source)  # type: ignore[arg-type]


@pytest.mark.case("plain-columns")
def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="result: no such folder"):
        bench.records(tmp_path / "result")


@pytest.mark.case("plain-columns")
@pytest.mark.parametrize("label", ["Same", "Teacher"])
def test_equal_labels_are_refused(label: str, frame: pd.DataFrame) -> None:
    with pytest.raises(BenchError, match=f"have the same label '{label}'"):
        bench.table(frame.assign(label=frame["label"].where(frame["role"] == "teacher", label)))


@pytest.mark.case("plain-columns")
def test_rows_without_a_label_have_the_name_of_their_method(frame: pd.DataFrame) -> None:
    labels = bench.table(frame.assign(label=None)).to_frame().index
    assert {"Teacher", "student", "kd"} <= set(labels)
    with pytest.raises(BenchError, match="the column method has empty values"):
        bench.table(frame.assign(method=None))


def test_one_change_may_be_a_text(here: Path) -> None:
    toy.write(here, methods="[student]")
    with pytest.raises(BenchError) as error:
        bench.run("toy.yaml", changes="recipe.epoch=2")
    assert "--set recipe.epoch=2: no key 'epoch'" in str(error.value).replace("recipe.epoch: ", "")
