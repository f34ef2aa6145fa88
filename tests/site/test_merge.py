"""Merging results folders: which record is kept, and that disagreements are told."""

import json
import os
import shutil
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.report import build
from bench.results import Results, sha256
from bench.results.merge import merge
from bench.results.pool import Pool, short_names
from tests.command import bench, wrong
from tests.site.site_factory import (
    COMMITTED,
    changed,
    quickstart,
    run_of,
    small_folder,
    with_top1,
)


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return small_folder(tmp_path / "a")


@pytest.fixture
def b(tmp_path: Path, a: Path) -> Path:
    return Path(shutil.copytree(a, tmp_path / "b"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_union_has_every_run_once(a: Path, b: Path, tmp_path: Path) -> None:
    runs = sorted(path.stem for path in (a / "runs").iterdir())
    Results(a).delete_run(runs[0])
    Results(b).delete_run(runs[1])
    merged = merge(Pool([a, b]), tmp_path / "c")
    assert sorted(path.stem for path in (tmp_path / "c" / "runs").iterdir()) == runs
    assert (merged.records, merged.equal) == (len(runs), len(runs) - 2)
    assert merged.counts == {"a": len(runs) - 1, "b": len(runs) - 1}
    assert (tmp_path / "c/plans/quickstart.json").read_bytes() == (
        a / "plans/quickstart.json"
    ).read_bytes()
    assert not list((tmp_path / "c").glob("*lock*"))


def test_of_equal_numbers_the_record_that_finished_first_is_kept_in_any_order(
    a: Path, b: Path, tmp_path: Path
) -> None:
    run = run_of(a, "kd seed 0")
    changed(b, run, finished="2020-01-01T00:00:00+00:00", seconds=1.0)
    merge(Pool([a, b]), tmp_path / "ab")
    merge(Pool([b, a]), tmp_path / "ba")
    assert contents(tmp_path / "ab") == contents(tmp_path / "ba")
    assert Results(tmp_path / "ab").file(run).read_bytes() == Results(b).file(run).read_bytes()


@pytest.mark.parametrize("number", ["metric", "curve", "weights", "status"])
def test_different_numbers_write_nothing(a: Path, b: Path, tmp_path: Path, number: str) -> None:
    run = run_of(a, "kd seed 0")
    record = Results(b).record(run)
    assert record is not None
    curves = [e.model_copy(update={"loss": 9.5}) if e.epoch == 3 else e for e in record.curves]
    fields: dict[str, dict[str, object]] = {
        "metric": {
            "metrics": {**record.metrics, "oracle": {**record.metrics["oracle"], "top1": 1.5}}
        },
        "curve": {"curves": curves},
        "weights": {"weights": "0" * 64},
        "status": {"status": "diverged"},
    }
    changed(b, run, **fields[number])
    merged = merge(Pool([a, b]), tmp_path / "c")
    assert merged.records == 0
    assert not (tmp_path / "c").exists()
    [disagreement] = merged.disagreements
    assert disagreement.run == run
    assert disagreement.sources == (("a",), ("b",))
    assert (
        list(disagreement.values)
        == {
            "metric": ["oracle.top1"],
            "curve": ["epoch 3: loss"],
            "weights": ["weights"],
            "status": ["status"],
        }[number]
    )


def test_times_and_machines_may_differ(a: Path, b: Path, tmp_path: Path) -> None:
    run = run_of(a, "kd seed 0")
    record = Results(b).record(run)
    assert record is not None
    curves = [epoch.model_copy(update={"seconds": 99.0}) for epoch in record.curves]
    changed(b, run, environment={"device": "another"}, seconds=9.0, curves=curves)
    assert merge(Pool([a, b]), tmp_path / "c").disagreements == ()


def test_keep_first_stores_all_numbers_for_tables_and_later_merges(
    a: Path, b: Path, tmp_path: Path
) -> None:
    run, c, d = run_of(a, "kd seed 0"), tmp_path / "c", tmp_path / "d"
    with_top1(b, run, 50.0)
    merge(Pool([a, b]), c, keep_first=True)
    assert Results(c).file(run).read_bytes() == Results(a).file(run).read_bytes()
    stored = {path.parent.name: path for path in c.glob("differing/*/*.json")}
    assert stored["b"].read_bytes() == Results(b).file(run).read_bytes()
    assert [path.parent.name for path in Results(c).differing(run)] == ["b"]
    again = merge(Pool([c, a]), d, keep_first=True)
    [disagreement] = again.disagreements
    assert disagreement.sources[1] == ("b",)
    assert disagreement.values["last.top1"][1] == 50.0
    assert (d / "differing" / "b" / f"{run}.json").is_file()


def test_report_of_a_merged_folder_warns_of_the_disagreement(
    a: Path, b: Path, tmp_path: Path
) -> None:
    with_top1(b, run_of(a, "crd seed 1"), 50.0)
    merge(Pool([a, b]), tmp_path / "c", keep_first=True)
    plan = quickstart(tmp_path / "plan")
    texts = {
        folder: build.warnings_of(build.assemble(plan, Results(tmp_path / folder)))
        for folder in ("a", "c")
    }
    assert texts["c"][:-1] == texts["a"]
    assert "resnet8x4/resnet8 crd seed 1; `bench merge`" in texts["c"][-1]


def test_a_result_replaces_a_failure_without_a_disagreement(
    a: Path, b: Path, tmp_path: Path
) -> None:
    run = run_of(a, "kd seed 0")
    changed(a, run, status="failed", reason="out of memory", metrics={}, curves=[])
    merged = merge(Pool([a, b]), tmp_path / "c")
    record = Results(tmp_path / "c").record(run)
    assert record is not None
    assert (record.status, merged.disagreements) == ("done", ())


def test_damaged_records_are_skipped_and_told(a: Path, b: Path, tmp_path: Path) -> None:
    first, second = run_of(a, "kd seed 0"), run_of(a, "crd seed 0")
    Results(a).file(first).write_text("damaged")
    record = Results(b).record(second)
    assert record is not None
    other = record.specification.model_copy(update={"seed": 7})
    changed(b, second, specification=other)
    merged = merge(Pool([a, b]), tmp_path / "c")
    assert len(merged.problems) == 2
    assert f"{Results(a).file(first)}: corrupt" in merged.problems[0]
    assert "its specification has the id" in merged.problems[1]
    assert Results(tmp_path / "c").file(first).read_bytes() == Results(b).file(first).read_bytes()


def test_weights_are_copied_only_if_they_are_those_of_the_record(
    a: Path, b: Path, tmp_path: Path
) -> None:
    kd, crd = run_of(a, "kd seed 0"), run_of(a, "crd seed 0")
    for run, content in ((kd, b"weights of kd"), (crd, b"weights of crd")):
        for folder in (a, b):
            changed(folder, run, weights=sha256(content))
            Results(folder).save_weights(run, content)
    Results(a).weights(kd).write_bytes(b"damaged")
    Results(a).weights(crd).write_bytes(b"damaged")
    Results(b).weights(crd).unlink()
    merged = merge(Pool([a, b]), tmp_path / "c")
    assert merged.weights == 1
    assert Results(tmp_path / "c").weights(kd).read_bytes() == b"weights of kd"
    assert not Results(tmp_path / "c").weights(crd).exists()
    assert merge(Pool([a, b]), tmp_path / "d", weights=False).weights == 0


def test_links_among_plans_are_not_copied(a: Path, b: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    os.symlink(secret, b / "plans" / "other.json")
    merged = merge(Pool([a, b]), tmp_path / "c")
    assert not (tmp_path / "c" / "plans" / "other.json").exists()
    assert "it is a link" in merged.problems[0]


def test_output_must_be_new_or_empty(a: Path, b: Path) -> None:
    with pytest.raises(BenchError, match="not empty"):
        merge(Pool([a, b]), b)


def test_names_of_folders_are_as_short_as_possible() -> None:
    folders = [Path("x/results"), Path("y/results"), Path("z/other")]
    assert short_names(folders) == ("x/results", "y/results", "other")


def test_pool_prefers_the_folders_of_a_suite(a: Path, b: Path) -> None:
    run = run_of(a, "kd seed 0")
    with_top1(b, run, 50.0)
    pool = Pool([a, b])
    record, other = pool.summary(run), pool.preferring(["b"]).summary(run)
    assert record is not None
    assert other is not None
    assert record.top1 != 50.0
    assert other.top1 == 50.0


def test_command_tells_both_values_and_exits_with_1(a: Path, b: Path, tmp_path: Path) -> None:
    run = run_of(a, "kd seed 0")
    with_top1(b, run, 50.0)
    markdown = tmp_path / "differences.md"
    result = bench("merge", a, b, "--output", tmp_path / "c", "--markdown", markdown)
    assert result.exit_code == 1
    assert f"resnet8x4/resnet8 kd seed 0 ({run})" in result.stdout
    assert "50.0" in result.stdout
    assert "nothing was written" in result.stdout
    assert "| last.top1 |" in markdown.read_text()
    kept = bench("merge", a, b, "--output", tmp_path / "c", "--keep", "first", "--json")
    assert kept.exit_code == 0
    assert json.loads(kept.stdout)["disagreements"][0]["values"]["last.top1"][1] == 50.0


def test_command_refuses_wrong_arguments(a: Path, tmp_path: Path) -> None:
    output = ("--output", tmp_path / "c")
    assert "two or more" in wrong(bench("merge", a, *output))
    assert "two or more" in wrong(bench("merge", a, a, *output))
    assert "no such folder" in wrong(bench("merge", a, tmp_path / "absent", *output))
    assert "Allowed: none, first" in wrong(
        bench("merge", a, COMMITTED / "quickstart", *output, "--keep", "last")
    )


def test_committed_records_of_all_folders_have_the_ids_of_their_specifications() -> None:
    folders = sorted(path.parent for path in COMMITTED.glob("*/runs"))
    assert Pool(folders).damaged == []
