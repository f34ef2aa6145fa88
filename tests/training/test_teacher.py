"""Teachers are loaded from common checkpoint formats and refused with a clear reason."""

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
from bench.planning.estimate import estimate
from bench.results import Results, sha256
from bench.results.record import Record
from bench.spec import Recipe
from bench.training import pretrained, teacher
from tests import toy

DIGITS = data.facts(Selection("digits"), None)


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build("resnet8", 10)


@pytest.mark.parametrize("wrapped", ["model", "state_dict", "net", None])
def test_wrapped_and_bare_state_dicts_load(
    net: torch.nn.Module, wrapped: str | None, tmp_path: Path
) -> None:
    path, state = tmp_path / "ckpt.pth", net.state_dict()
    torch.save({"epoch": 240, wrapped: state} if wrapped else state, path)
    loaded = teacher.load("resnet8", DIGITS, path)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), state.values(), strict=True)
    )


def test_data_parallel_prefix_is_removed(net: torch.nn.Module, tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save({"model": state}, tmp_path / "ckpt.pth")
    teacher.load("resnet8", DIGITS, tmp_path / "ckpt.pth")


def test_safetensors_file_loads(net: torch.nn.Module, tmp_path: Path) -> None:
    safetensors.torch.save_file(net.state_dict(), tmp_path / "ckpt.safetensors")
    teacher.load("resnet8", DIGITS, tmp_path / "ckpt.safetensors")


def test_checkpoint_of_another_network_is_refused_with_names_and_shapes(
    net: torch.nn.Module, tmp_path: Path
) -> None:
    torch.save(net.state_dict(), tmp_path / "ckpt.pth")
    message = (
        r"not a resnet8 of 100 classes: missing fc.weight \(100, 64\), fc.bias \(100,\); "
        r"unexpected fc.weight \(10, 64\), fc.bias \(10,\)"
    )
    with pytest.raises(TeacherRefused, match=message):
        teacher.load("resnet8", replace(DIGITS, classes=100), tmp_path / "ckpt.pth")
    with pytest.raises(TeacherRefused, match=r"missing layer1\.1\.conv1\.weight.* and \d+ more"):
        teacher.load("resnet20", DIGITS, tmp_path / "ckpt.pth")


class Payload:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(Payload.mark), "w"))

    mark: Path


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_executed(save: str, tmp_path: Path) -> None:
    Payload.mark = tmp_path / "executed"
    path = tmp_path / "evil.pth"
    if save == "torch":
        torch.save({"model": Payload()}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    with pytest.raises(TeacherRefused, match="not a checkpoint of plain tensors"):
        pretrained.read(path)
    assert not Payload.mark.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_truncated_files_are_refused(content: bytes, tmp_path: Path) -> None:
    for name in ("torn.pth", "torn.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TeacherRefused, match="torn"):
            pretrained.read(tmp_path / name)


def test_error_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="none.pth: no such checkpoint"):
        pretrained.read(tmp_path / "none.pth")


def adopt(folder: Path, net: torch.nn.Module, entry: str) -> Results:
    """Run a suite whose teacher is a checkpoint with this entry."""
    torch.save({"model": net.state_dict()}, folder / "ckpt.pth")
    teachers = f"{{checkpoints: {{resnet8: {{path: ckpt.pth, {entry}}}}}}}"
    return toy.run(toy.plan(folder, teachers=teachers, methods="[kd]"), folder)


def by_kind(results: Results) -> dict[str, Record]:
    """The only teacher and the only student."""
    return {record.kind: record for record in results.records()}


def test_checkpoint_becomes_a_teacher_after_its_evaluation(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    trained = toy.run(toy.plan(tmp_path / "a", methods="[student]"), tmp_path / "a")
    origin = by_kind(trained)["teacher"]
    net = teacher.load("resnet8", DIGITS, trained.weights(origin.id))
    entry = f"top1: {origin.top1}, tolerance: 0.01"
    results = adopt(tmp_path / "b", net, entry)
    records = by_kind(results)
    assert records["teacher"].status == records["student"].status == "done"
    assert records["teacher"].top1 == pytest.approx(origin.top1)
    digest = sha256(results.weights(records["teacher"].id))
    assert digest == records["teacher"].weights == records["student"].teacher.sha256


def test_teacher_with_another_accuracy_than_the_suite_states_is_refused(
    net: torch.nn.Module, tmp_path: Path
) -> None:
    records = by_kind(adopt(tmp_path, net, "top1: 97.5, tolerance: 0.1"))
    assert records["teacher"].status == "failed"
    assert "Allowed: 97.50 ± 0.10" in records["teacher"].reason
    assert records["student"].status == "skipped"
    assert "97.50" in records["student"].reason


def test_weights_that_changed_after_their_record_are_refused(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student, kd]")
    results = toy.run(plan, tmp_path)
    (run,) = [run for run in plan.runs.values() if run.kind == "teacher"]
    weights = safetensors.torch.load_file(results.weights(run.id))
    weights["fc.bias"] += 1
    safetensors.torch.save_file(weights, results.weights(run.id))
    student = next(cell.run for cell in plan.cells if cell.method.name == "kd")
    results.delete_run(student)
    Runner(plan, estimate(plan), results, InlineExecutor()).run([plan.runs[student]])
    record = results.record(student)
    assert record is not None
    assert record.status == "failed"
    assert "sha256" in record.reason


def test_passes_with_the_same_fields_share_one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[frozenset[str]] = []
    make = models.reader
    monkeypatch.setattr(models, "reader", lambda *args: made.append(args[2]) or make(*args))
    dataset = data.load(Selection("digits", per_class=2), None, torch.device("cpu"))
    shared = teacher.Teacher([models.build("resnet8", 10)], dataset, Recipe(), ["stem"])
    images = torch.randn(2, 3, 8, 8)
    (first,), (second,) = (shared(images, None, {"stem"}) for _ in range(2))
    shared(images)
    assert made == [{"stem"}, {"stages"}]
    assert torch.equal(first.stem, second.stem)
