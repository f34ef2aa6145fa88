"""A results folder: whole records or none, whatever happens while they are written."""

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, TeacherRefused
from bench.results import Corrupt, Results, Unwritable, leftovers, verify
from bench.results.files import set_aside, sha256, write_whole
from bench.results.record import FORMAT
from tests import toy
from tests.toy import record


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def test_a_record_is_read_as_it_was_written(results: Results) -> None:
    results.write(record(metrics={"last": {"top1": 1 / 3}}, reason="ein Grund → …"))
    assert results.record("a") == {
        "format": FORMAT, **record(metrics={"last": {"top1": 1 / 3}}, reason="ein Grund → …")
    }  # fmt: skip
    assert results.record("b") is None
    assert [path.name for path in (results.folder / "runs").iterdir()] == ["a.json"]


def test_numbers_that_are_none_are_refused(results: Results) -> None:
    with pytest.raises(ValueError, match="JSON"):
        results.write(record(loss=float("nan")))
    assert results.record("a") is None


@pytest.mark.parametrize(
    "text",
    ["", '{"format": 1, "id": "a", ', "[]", "null", '{"id": "a"}', '{"format": 1}', "\x80",
     '{"format": 1, "id": "b"}'],
)  # fmt: skip
def test_what_is_no_record_is_told(text: str, results: Results) -> None:
    results.write(record("b"))
    results.file("a").write_text(text, "latin-1")
    with pytest.raises(Corrupt, match=r"runs/a.json: damaged: .*`bench run` sets it aside"):
        results.record("a")
    with pytest.raises(Corrupt):
        list(results.records())
    aside = set_aside(results.file("a"))
    assert aside.name == "a.json.corrupt"
    assert results.record("a") is None
    assert [found["id"] for found in results.records()] == ["b"]
    assert leftovers(results) == [aside]


def test_every_flipped_bit_of_a_record_is_found_or_changes_nothing(results: Results) -> None:
    results.write(record(metrics={"last": {"top1": 71.25}}, reason="a–b"))
    path = results.file("a")
    before, content = results.record("a"), path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                found = results.record("a")
            except Corrupt:
                continue
            assert found is not None
            assert {key: found.get(key) for key in before or ()} == before


def test_a_record_that_was_changed_by_hand_is_damaged(results: Results) -> None:
    results.write(record(metrics={"last": {"top1": 71.25}}))
    path = results.file("a")
    path.write_text(path.read_text().replace("71.25", "81.25"))
    with pytest.raises(Corrupt, match="its content is not that of its sha256"):
        results.record("a")


def test_a_record_without_a_sum_is_read_as_before(results: Results) -> None:
    results.write(record("b"))
    old = {"format": 1, **record()}
    results.file("a").write_text(json.dumps(old, indent=1))
    assert results.record("a") == old


def test_a_sum_that_is_not_where_it_was_written_does_not_count(results: Results) -> None:
    results.write(record(metrics={"last": {"top1": 71.25}}))
    path = results.file("a")
    changed = json.loads(path.read_text().replace("71.25", "81.25"))
    path.write_text(json.dumps(changed, indent=2))  # as a tool for JSON leaves it
    with pytest.raises(Corrupt, match="its sha256 is not where it was written"):
        results.record("a")


ODD: list[dict[str, Any]] = [
    {"status": []}, {"status": "well"}, {"reason": [1]}, {"seed": "x"}, {"seed": None},
    {"metrics": 5}, {"metrics": {"last": {"top1": "9"}}}, {"metrics": {"last": {"top1": 10**400}}},
    {"teacher": 5}, {"environment": [1]}, {"specification": 5}, {"network": {}}, {"curves": {}},
    {"curves": [{"epoch": 1}]}, {"weights": 7}, {"kind": None}, {"seconds": "long"},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_record_of_another_shape_is_damaged(odd: dict[str, Any], results: Results) -> None:
    results.write(record(**odd))
    with pytest.raises(Corrupt, match=f"no record: {next(iter(odd))}"):
        results.record("a")


def test_what_has_no_end_is_not_read(results: Results) -> None:
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
    with pytest.raises(Corrupt, match="no JSON"):
        results.record("a")


def test_a_record_of_the_future_is_no_damage(results: Results) -> None:
    results.write(record("b"))
    results.file("a").write_text('{"format": 99, "id": "a"}')
    with pytest.raises(BenchError, match="format 99; this version reads 1") as raised:
        results.record("a")
    assert not isinstance(raised.value, Corrupt)


def test_every_flipped_bit_of_a_state_is_found(results: Results) -> None:
    content = bytes(range(40))
    assert results.read_state("a") is None
    results.keep_state("a", content)
    assert results.read_state("a") == content
    path = results.state("a")
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(Corrupt, match="a.safetensors: damaged"):
            results.read_state("a")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(Corrupt):
            results.read_state("a")


def test_no_folder_is_no_record(results: Results, tmp_path: Path) -> None:
    assert list(results.records()) == []
    assert results.record("a") is None
    assert leftovers(results) == []
    assert not results.folder.exists(), "reading creates nothing"
    (tmp_path / "file").touch()
    assert Results(tmp_path / "file").record("a") is None


def test_a_record_and_its_name_are_forced_to_the_disk(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[int] = []
    force = os.fsync

    def noted(held: int) -> None:
        forced.append(stat.S_IFMT(os.fstat(held).st_mode))
        force(held)

    monkeypatch.setattr(os, "fsync", noted)
    results.write(record())
    assert forced == [stat.S_IFREG, stat.S_IFDIR]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_leaves_the_old_record(
    step: str, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write(record(reason="old"))

    def crash(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, crash)
        with pytest.raises(Unwritable, match=r"a.json: cannot be written: No space left"):
            results.write(record(reason="new"))
    (found,) = results.records()
    assert found["reason"] == "old"
    assert [path.name for path in results.folder.rglob("*.*")] == ["a.json"], "no part of it"
    results.write(record(reason="new"))
    assert [found["reason"] for found in results.records()] == ["new"]


def test_a_reader_meets_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + n]) * 200_000 for n in range(2)]
    write_whole(path, contents[0])
    ended = threading.Event()

    def write() -> None:
        for n in range(60):
            write_whole(path, contents[n % 2])
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not ended.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(contents)


def test_what_is_kept_of_a_run_is_forgotten_as_a_whole(results: Results) -> None:
    for run in ("a", "b"):
        results.write(record(run))
        write_whole(results.weights(run), b"w")
        write_whole(results.state(run), b"s")
    results.forget("a")
    results.forget("never there")
    assert {path.stem for path in results.folder.rglob("*") if path.is_file()} == {"b"}


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Unwritable, match=r"file/x: cannot be written to: Not a directory"),
        Results(tmp_path / "file" / "x").lock(),
    ):
        pass
    with Results(tmp_path / "new" / "folder").lock():
        pass
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]


def test_a_lock_ends_the_remains_of_a_killed_command(results: Results) -> None:
    torn = [results.folder / folder / ".x.7.part" for folder in ("runs", "weights", "state")]
    for path in torn:
        path.parent.mkdir(parents=True)
        path.touch()
    with results.lock():
        assert not any(path.exists() for path in torn)


def test_weights_are_verified_by_their_sum(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    verify(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    path.write_bytes(b"abd")
    with pytest.raises(TeacherRefused, match=rf"{path}: its sha256 is {sha256(path)}; ba7816"):
        verify(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_leftovers_are_what_no_command_needs(results: Results) -> None:
    results.write(record("student"))
    results.write(record("teacher", kind="teacher"))
    for run in ("student", "teacher", "under_way"):
        write_whole(results.weights(run), b"w")
        write_whole(results.state(run), b"s")
    write_whole(results.folder / "logs" / "job.log", b"l")
    write_whole(results.folder / "toy.md", b"t")
    (results.folder / "runs" / ".x.json.7.part").touch()
    plain = {str(path.relative_to(results.folder)) for path in leftovers(results)}
    assert plain == {
        "runs/.x.json.7.part",
        "logs/job.log",
        "state/student.safetensors",
        "state/teacher.safetensors",
    }
    more = set(leftovers(results, weights=True)) - set(leftovers(results))
    assert more == {results.weights("student")}


def test_a_summary_is_the_record_without_its_curves(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path)
    results = toy.run(whole, tmp_path)
    for run in whole.runs:
        record = results.record(run)
        assert record is not None
        assert record["curves"]
        assert results.summary(run) == {**record, "curves": []}


def test_a_summary_of_a_damaged_curve_is_refused(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path)
    results = toy.run(whole, tmp_path)
    path = results.file(next(iter(whole.runs)))
    path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 2', 1))
    with pytest.raises(Corrupt):
        results.summary(path.stem)
