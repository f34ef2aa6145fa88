"""The results folder: complete records or none, also after a crash during a write."""

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, TeacherRefused
from bench.results import (
    Corrupt,
    Record,
    Results,
    Unwritable,
    leftovers,
    quarantine,
    sha256,
    verify,
    write_atomic,
)
from bench.results.record import FORMAT, sealed
from tests import toy
from tests.toy import record


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def write_raw(results: Results, run: str, **fields: Any) -> None:
    """Write JSON that need not be a valid record, with its checksum."""
    content = {"format": FORMAT, **record(run).content, **fields}
    write_atomic(results.file(run), sealed(json.dumps(content, indent=1)).encode())


def with_top1(value: float) -> Record:
    return record(metrics={"last": {"top1": value}})


def test_record_is_read_as_it_was_written(results: Results) -> None:
    written = record(metrics={"last": {"top1": 1 / 3}}, reason="ein Grund → …")
    results.write(written)
    assert results.record("a") == written
    assert results.record("b") is None
    assert [path.name for path in (results.folder / "runs").iterdir()] == ["a.json"]


def test_number_that_is_not_finite_is_refused(results: Results) -> None:
    with pytest.raises(ValueError, match="finite"):
        with_top1(float("nan"))
    unchecked = record().model_copy(update={"seconds": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        results.write(unchecked)
    assert results.record("a") is None


@pytest.mark.parametrize(
    "text",
    ["", '{"format": 1, "id": "a", ', "[]", "null", '{"id": "a"}', '{"format": 1}', "\x80",
     '{"format": 1, "id": "b"}'],
)  # fmt: skip
def test_invalid_record_is_reported_and_can_be_quarantined(text: str, results: Results) -> None:
    results.write(record("b"))
    results.file("a").write_text(text, "latin-1")
    with pytest.raises(Corrupt, match=r"runs/a.json: corrupt: .*`bench run` quarantines it"):
        results.record("a")
    with pytest.raises(Corrupt):
        list(results.records())
    path = quarantine(results.file("a"))
    assert path.name == "a.json.corrupt"
    assert results.record("a") is None
    assert [record.id for record in results.records()] == ["b"]
    assert leftovers(results) == [path]


def test_flipped_bit_of_a_record_is_detected_or_changes_nothing(results: Results) -> None:
    written = record(metrics={"last": {"top1": 71.25}}, reason="a–b")
    results.write(written)
    path = results.file("a")
    content = path.read_bytes()
    for index in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[index] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                read = results.record("a")
            except Corrupt:
                continue
            assert read is not None
            assert {**read.content, **written.content} == read.content


def test_record_that_was_edited_is_corrupt(results: Results) -> None:
    results.write(with_top1(71.25))
    path = results.file("a")
    path.write_text(path.read_text().replace("71.25", "81.25"))
    with pytest.raises(Corrupt, match="its content does not match its sha256"):
        results.record("a")


def test_record_without_a_checksum_is_read(results: Results) -> None:
    results.write(record("b"))
    results.file("a").write_text(json.dumps({"format": 1, **record().content}, indent=1))
    assert results.record("a") == record()


def test_checksum_outside_the_last_line_is_refused(results: Results) -> None:
    results.write(with_top1(71.25))
    path = results.file("a")
    edited = json.loads(path.read_text().replace("71.25", "81.25"))
    path.write_text(json.dumps(edited, indent=2))  # as a JSON tool would write it
    with pytest.raises(Corrupt, match="its sha256 is not in the last line"):
        results.record("a")


INVALID: list[dict[str, Any]] = [
    {"status": []}, {"status": "well"}, {"reason": [1]}, {"seed": "x"}, {"seed": None},
    {"metrics": 5}, {"metrics": {"last": {"top1": "9"}}}, {"metrics": {"last": {"top1": 10**400}}},
    {"teacher": 5}, {"environment": [1]}, {"specification": 5}, {"network": {}}, {"curves": {}},
    {"curves": [{"epoch": 1}]}, {"weights": 7}, {"kind": None}, {"seconds": "long"},
]  # fmt: skip


@pytest.mark.parametrize("fields", INVALID, ids=str)
def test_field_of_another_type_is_corrupt(fields: dict[str, Any], results: Results) -> None:
    write_raw(results, "a", **fields)
    with pytest.raises(Corrupt, match=f"not a record: {next(iter(fields))}"):
        results.record("a")


def test_pipe_device_and_deep_json_are_refused_in_finite_time(results: Results) -> None:
    results.write(record("b"))
    for path in (results.file("a"), results.state("a")):
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
    results.file("c").symlink_to("/dev/zero")
    for read in (lambda: results.record("a"), lambda: results.read_state("a"),
                 lambda: results.record("c")):  # fmt: skip
        with pytest.raises(Corrupt, match="not a file"):
            read()
    results.file("a").unlink()
    results.file("a").write_text("[" * 200_000)
    with pytest.raises(Corrupt, match="not JSON"):
        results.record("a")


def test_record_of_a_later_version_is_not_corrupt(results: Results) -> None:
    results.write(record("b"))
    results.file("a").write_text('{"format": 99, "id": "a"}')
    with pytest.raises(BenchError, match="format 99; this version reads format 1") as raised:
        results.record("a")
    assert not isinstance(raised.value, Corrupt)


def test_flipped_bit_or_cut_of_a_checkpoint_is_detected(results: Results) -> None:
    content = bytes(range(40))
    assert results.read_state("a") is None
    results.save_state("a", content)
    assert results.read_state("a") == content
    path = results.state("a")
    saved = path.read_bytes()
    for index in range(8 * len(saved)):
        flipped = bytearray(saved)
        flipped[index // 8] ^= 1 << index % 8
        path.write_bytes(flipped)
        with pytest.raises(Corrupt, match="a.safetensors: corrupt"):
            results.read_state("a")
    for length in range(len(saved)):
        path.write_bytes(saved[:length])
        with pytest.raises(Corrupt):
            results.read_state("a")


def test_missing_folder_has_no_records_and_is_not_created(results: Results, tmp_path: Path) -> None:
    assert list(results.records()) == []
    assert results.record("a") is None
    assert leftovers(results) == []
    assert not results.folder.exists()
    (tmp_path / "file").touch()
    assert Results(tmp_path / "file").record("a") is None


def test_record_and_its_name_are_synced_to_the_disk(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def logged(descriptor: int) -> None:
        synced.append(stat.S_IFMT(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", logged)
    results.write(record())
    assert synced == [stat.S_IFREG, stat.S_IFDIR]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_record(
    step: str, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write(record(reason="old"))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(Unwritable, match=r"a.json: cannot be written: No space left"):
            results.write(record(reason="new"))
    assert [record.reason for record in results.records()] == ["old"]
    assert [path.name for path in results.folder.rglob("*.*")] == ["a.json"], "a temporary file"
    results.write(record(reason="new"))
    assert [record.reason for record in results.records()] == ["new"]


def test_reader_sees_complete_files_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + n]) * 200_000 for n in range(2)]
    write_atomic(path, contents[0])
    ended = threading.Event()

    def write() -> None:
        for n in range(60):
            write_atomic(path, contents[n % 2])
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not ended.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)


def test_delete_run_removes_all_files_of_that_run(results: Results) -> None:
    for run in ("a", "b"):
        results.write(record(run))
        write_atomic(results.weights(run), b"w")
        write_atomic(results.state(run), b"s")
    results.delete_run("a")
    results.delete_run("missing")
    assert {path.stem for path in results.folder.rglob("*") if path.is_file()} == {"b"}


def test_lock_of_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Unwritable, match=r"file/x: cannot be written to: Not a directory"),
        Results(tmp_path / "file" / "x").lock(),
    ):
        pass
    with Results(tmp_path / "new" / "folder").lock():
        pass
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]


def test_lock_removes_temporary_files_of_a_killed_command(results: Results) -> None:
    parts = [results.folder / folder / ".x.7.part" for folder in ("runs", "weights", "state")]
    for path in parts:
        path.parent.mkdir(parents=True)
        path.touch()
    with results.lock():
        assert not any(path.exists() for path in parts)


def test_verify_refuses_another_sha256(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    verify(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    path.write_bytes(b"abd")
    with pytest.raises(TeacherRefused, match=f"{path}: its sha256 is {sha256(path)}, expected ba7"):
        verify(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file") == sha256(b"abc") == sha256(memoryview(b"abc"))


def test_leftovers_are_the_files_that_no_command_needs(results: Results) -> None:
    results.write(record("student"))
    results.write(record("teacher", kind="teacher"))
    for run in ("student", "teacher", "unfinished"):
        write_atomic(results.weights(run), b"w")
        write_atomic(results.state(run), b"s")
    write_atomic(results.folder / "logs" / "job.log", b"l")
    write_atomic(results.folder / "toy.md", b"t")
    (results.folder / "runs" / ".x.json.7.part").touch()
    names = {str(path.relative_to(results.folder)) for path in leftovers(results)}
    assert names == {
        "runs/.x.json.7.part",
        "logs/job.log",
        "state/student.safetensors",
        "state/teacher.safetensors",
    }
    more = set(leftovers(results, weights=True)) - set(leftovers(results))
    assert more == {results.weights("student")}


def test_summary_is_the_record_with_empty_curves(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    results = toy.run(plan, tmp_path)
    for run in plan.runs:
        record = results.record(run)
        assert record is not None
        assert record.curves
        assert results.summary(run) == toy.changed(record, curves=[])


def test_summary_of_a_record_with_corrupt_curves_is_refused(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    results = toy.run(plan, tmp_path)
    path = results.file(next(iter(plan.runs)))
    path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 2', 1))
    with pytest.raises(Corrupt):
        results.summary(path.stem)
