"""Teachers: whatever is not the teacher that was promised is refused, in words."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bench import data, models
from bench.data import Selection
from bench.errors import MissingData, TeacherRefused
from bench.execution.executors.local import InlineExecutor
from bench.execution.runner import Runner
from bench.planning.estimate import forecast
from bench.results import Results, sha256
from bench.training import teacher
from tests import toy

DIGITS = data.facts(Selection("digits"), None)


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build("resnet8", 10)


@pytest.mark.parametrize("wrapped", ["model", "state_dict", "net", None])
def test_checkpoints_of_the_field_load(
    net: torch.nn.Module, wrapped: str | None, tmp_path: Path
) -> None:
    path, state = tmp_path / "ckpt.pth", net.state_dict()
    torch.save({"epoch": 240, wrapped: state} if wrapped else state, path)
    loaded = teacher.load("resnet8", DIGITS, path)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), state.values(), strict=True)
    )


def test_names_of_data_parallel_are_understood(net: torch.nn.Module, tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save({"model": state}, tmp_path / "ckpt.pth")
    teacher.load("resnet8", DIGITS, tmp_path / "ckpt.pth")


def test_safetensors_load(net: torch.nn.Module, tmp_path: Path) -> None:
    safetensors.torch.save_file(net.state_dict(), tmp_path / "ckpt.safetensors")
    teacher.load("resnet8", DIGITS, tmp_path / "ckpt.safetensors")


def test_another_network_is_refused_by_name_and_shape(net: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "ckpt.pth")
    with pytest.raises(TeacherRefused, match=r"not a resnet8 of 100 classes: shape of fc\.weight"):
        teacher.load("resnet8", replace(DIGITS, classes=100), tmp_path / "ckpt.pth")
    with pytest.raises(TeacherRefused, match=r"missing layer1\.1\.conv1\.weight.* and \d+ more"):
        teacher.load("resnet20", DIGITS, tmp_path / "ckpt.pth")


class Payload:
    """What an attacker would put into a pickle."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(Payload.mark), "w"))

    mark: Path


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(save: str, tmp_path: Path) -> None:
    Payload.mark = tmp_path / "owned"
    path = tmp_path / "evil.pth"
    if save == "torch":
        torch.save({"model": Payload()}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    with pytest.raises(TeacherRefused, match="not a checkpoint of plain tensors"):
        teacher.read_state(path)
    assert not Payload.mark.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_torn_files_are_refused(content: bytes, tmp_path: Path) -> None:
    for name in ("torn.pth", "torn.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TeacherRefused, match="torn"):
            teacher.read_state(tmp_path / name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="none.pth: no such checkpoint"):
        teacher.read_state(tmp_path / "none.pth")


def adopted(folder: Path, net: torch.nn.Module, manifest: str) -> Results:
    path = folder / "ckpt.pth"
    torch.save({"model": net.state_dict()}, path)
    entry = f"{{checkpoints: {{resnet8: {{path: ckpt.pth, {manifest}}}}}}}"
    return toy.run(toy.plan(folder, teachers=entry, methods="[kd]"), folder)


def trained(folder: Path) -> tuple[torch.nn.Module, float]:
    results = toy.run(toy.plan(folder, methods="[student]"), folder)
    (record,) = [r for r in results.records() if r["kind"] == "teacher"]
    net = teacher.load("resnet8", DIGITS, results.weights(record["id"]))
    return net, record["metrics"]["last"]["top1"]


def test_a_checkpoint_is_adopted_and_evaluated_first(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    net, top1 = trained(tmp_path / "a")
    results = adopted(tmp_path / "b", net, f"top1: {top1}, tolerance: 0.01")
    (record,) = [r for r in results.records() if r["kind"] == "teacher"]
    assert record["status"] == "done"
    assert record["metrics"]["last"]["top1"] == pytest.approx(top1)
    (student,) = [r for r in results.records() if r["kind"] == "student"]
    assert student["status"] == "done"
    assert (
        student["teacher"]["sha256"] == sha256(results.weights(record["id"])) == record["weights"]
    )


def test_a_teacher_that_is_not_as_good_as_promised_is_refused(
    net: torch.nn.Module, tmp_path: Path
) -> None:
    results = adopted(tmp_path, net, "top1: 97.5, tolerance: 0.1")
    record, student = sorted(results.records(), key=lambda r: r["kind"] == "student")
    assert record["status"] == "failed"
    assert "its manifest says 97.50 ± 0.10" in record["reason"]
    assert student["status"] == "skipped"
    assert "97.50" in student["reason"]


def test_weights_that_changed_after_their_record_are_refused(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods="[student, kd]")
    results = toy.run(whole, tmp_path)
    (of,) = [r for r in whole.runs.values() if r.kind == "teacher"]
    held = safetensors.torch.load_file(results.weights(of.id))
    held["fc.bias"] += 1
    safetensors.torch.save_file(held, results.weights(of.id))
    student = next(cell.run for cell in whole.cells if cell.method.name == "kd")
    results.delete_run(student)
    Runner(whole, forecast(whole), results, InlineExecutor()).run([whole.runs[student]])
    found = results.record(student)
    assert found is not None
    assert found["status"] == "failed"
    assert "sha256" in found["reason"]
