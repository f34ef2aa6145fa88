"""The index of records: the same records as their files, changes seen at once, damage harmless."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.results import Corrupt, Record, Results, write_atomic
from bench.results.index import MIN_NEW, NAME
from bench.results.record import document
from tests.records import make_epoch, make_record

OTHERS = MIN_NEW + 5


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Return a folder of records with an index."""
    monkeypatch.setattr("bench.results.index.SETTLED_S", 0)
    results = Results(tmp_path / "results")
    records = [
        make_record("t", kind="teacher", metrics={"last": {"top1": 75.0}}, weights="ab"),
        make_record("failed", status="failed", reason="a reason → …", teacher=None),
        make_record("odd", metrics={"last": {"top1": None, "n": 3}}, extra={"a": [1]}),
    ]
    for i in range(OTHERS):
        curves, metrics = [make_epoch(1)], {"last": {"top1": i / 3}, "oracle": {"epoch": i}}
        fields = {
            "specification": {"recipe": {"epochs": i % 3 + 1}, "teacher": None if i % 2 else "t"}
        }
        records.append(make_record(f"r{i}", i, metrics=metrics, curves=curves, **fields))
    for record in records:
        write_atomic(results.file(record.id), document(record).encode(), fsync=False)
    read(results)
    assert index(results).is_file()
    return results


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the records whose files are read."""
    from bench.results import store

    names: list[str] = []
    original = store.read_record

    def read_record(path: Path, run: str, *, curves: bool = True) -> Record | None:
        names.append(run)
        return original(path, run, curves=curves)

    monkeypatch.setattr(store, "read_record", read_record)
    return names


def index(results: Results) -> Path:
    return results.folder / "runs" / NAME


def read(results: Results) -> dict[str, Record]:
    return {record.id: record for record in Results(results.folder).records(curves=False)}


def contents(results: Results) -> dict[str, str]:
    """Return the content of each file, read without the index."""
    files = (results.folder / "runs").glob("*.json")
    records = [results.summary(path.stem) for path in files]
    return {record.id: json.dumps(record.content) for record in records if record}


def test_index_returns_the_records_of_the_files(results: Results, unread: list[str]) -> None:
    records = read(results)
    assert unread == []
    assert len(records) == OTHERS + 3
    assert {id: json.dumps(r.content) for id, r in records.items()} == contents(results)
    assert records == {id: results.summary(id) for id in records}


def test_new_changed_and_removed_records_are_seen_at_once(
    results: Results, unread: list[str]
) -> None:
    results.write(make_record("new"))
    results.write(make_record("r0", metrics={"last": {"top1": 1.5}}))
    results.file("r1").unlink()
    records = read(results)
    assert unread == ["new", "r0"]
    assert records["r0"].top1 == 1.5
    assert "r1" not in records


def test_file_that_changes_inside_a_block_is_read_again(results: Results) -> None:
    with results.indexed():
        assert results.summary("r3")
        results.write(make_record("r3", metrics={"last": {"top1": 2.5}}))
        assert (record := results.summary("r3"))
        assert record.top1 == 2.5


def test_change_that_keeps_size_and_mtime_is_seen(results: Results) -> None:
    path = results.file("r2")
    status = path.stat()
    text = path.read_text().replace('"epoch": 2', '"epoch": 7')
    with path.open("r+") as file:
        file.write(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    with pytest.raises(Corrupt, match="sha256"):
        read(results)


def test_damaged_record_is_found_and_others_stay_in_the_index(
    results: Results, unread: list[str]
) -> None:
    results.file("r4").write_text("{")
    with results.indexed():
        assert results.summary("r5")
        with pytest.raises(Corrupt):
            results.summary("r4")
    assert unread == ["r4"]


def test_record_that_changed_just_now_is_not_indexed(
    results: Results, unread: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.results.index.SETTLED_S", 3600)
    index(results).unlink()
    read(results)
    assert not index(results).exists()


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "folder", "entry", "version"])
def test_damaged_index_is_ignored_and_replaced(
    damage: str, results: Results, unread: list[str]
) -> None:
    before, path = contents(results), index(results)
    unread.clear()
    if damage == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage in ("text", "empty"):
        path.write_text("not a database" if damage == "text" else "")
    else:
        change = {"entry": "UPDATE records SET content = replace(content, '0', '1')",
                  "version": "PRAGMA user_version = 3"}  # fmt: skip
        with sqlite3.connect(path) as database:
            database.execute(change[damage])
    assert {id: json.dumps(r.content) for id, r in read(results).items()} == before
    assert unread
    if damage != "folder":
        unread.clear()
        read(results)
        assert len(unread) < MIN_NEW


def test_copied_folder_does_not_use_the_index(results: Results, unread: list[str]) -> None:
    copy = Results(results.folder.with_name("copy"))
    shutil.copytree(results.folder, copy.folder)
    assert read(copy) == read(results)
    assert len(unread) == OTHERS + 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_read_only_folder_is_read(results: Results) -> None:
    index(results).unlink()
    (results.folder / "runs").chmod(0o555)
    assert len(read(results)) == OTHERS + 3
    assert not index(results).exists()


def test_folder_that_refuses_the_index_is_read(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError("read-only file system")

    index(results).unlink()
    monkeypatch.setattr("bench.results.index.write_atomic", refuse)
    assert len(read(results)) == OTHERS + 3
    assert not index(results).exists()


def test_small_and_missing_folders_get_no_index(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    assert read(results) == {}
    assert not results.folder.exists()
    results.write(make_record("a"))
    read(results)
    assert not index(results).exists()


def test_several_processes_read_and_write_one_index(results: Results) -> None:
    program = (
        "import sys; from pathlib import Path; import bench.results.index as index\n"
        "from bench.results import Results\n"
        "index.SETTLED_S = 0\n"
        "for turn in range(5):\n"
        "    (Path(sys.argv[1]) / 'runs' / index.NAME).unlink(missing_ok=True)\n"
        "    assert len(list(Results(Path(sys.argv[1])).records(curves=False))) == "
        f"{OTHERS + 3}\n"
    )
    command = [sys.executable, "-c", program, str(results.folder)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert not list((results.folder / "runs").glob(".*"))


def test_record_of_another_version_is_refused_with_an_index(results: Results) -> None:
    path = results.file("r6")
    path.write_text('{"format": 99}')
    with pytest.raises(BenchError, match="format 99"):
        read(results)
