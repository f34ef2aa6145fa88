"""Corrupt files: detected by their checksums, quarantined, reported, and made again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from bench import api
from bench.api import Machine
from bench.execution.executors.local import InlineExecutor
from bench.execution.protocol import Event
from bench.execution.runner import Runner, pending
from bench.planning import estimate
from bench.planning.plan import Plan
from bench.results import Corrupt, Results
from tests import toy
from tests.command import bench, wrong
from tests.soak import some

INLINE = Machine(gpus=(), inline=True)
Same = Callable[[Results], bool]


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Remove the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def run(plan: Plan, results: Results, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Execute a plan; return its notices."""
    assert api.execute(plan, results, INLINE, view="plain") == []
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("notice    ") for line in lines if line.startswith("notice")]


@pytest.mark.parametrize("damage", [flip, truncate])
def test_corrupt_record_is_quarantined_and_its_run_repeated(
    damage: Callable[[Path], None], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = toy.plan(here)
    results = toy.run(plan, here)
    before = [toy.numbers(results.record(run)) for run in plan.runs]
    path = results.file(plan.cells[0].run)
    damage(path)
    for verb in ("report", "status"):
        message = wrong(bench(verb, "toy.yaml"))
        assert message.startswith(f"results/runs/{path.name}: corrupt: ")
        assert message.endswith("`bench run` quarantines it and repeats the run")
    (notice,) = run(plan, results, capsys)
    assert f"{path.name}: corrupt: " in notice
    assert notice.endswith(f"quarantined as {path.name}.corrupt")
    assert path.with_name(f"{path.name}.corrupt").exists()
    assert [toy.numbers(results.record(run)) for run in plan.runs] == before
    assert run(plan, results, capsys) == []


@pytest.mark.parametrize("damage", [flip, truncate, lambda path: path.write_bytes(b"")])
def test_teacher_with_corrupt_weights_is_trained_again_before_its_students(
    damage: str, undisturbed: tuple[Plan, Results], with_teacher: Results,
    same: Same, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plan, _ = undisturbed
    path = with_teacher.weights(next(iter(plan.runs)))
    damage(path)
    (notice,) = run(plan, with_teacher, capsys)
    assert f"{path}: corrupt: its sha256 is " in notice
    assert path.with_name(f"{path.name}.corrupt").exists()
    assert same(with_teacher)


def interrupt(plan: Plan, results: Results) -> list[Path]:
    """Stop after the third epoch of the first student; return the checkpoints."""

    class Interrupted(InlineExecutor):
        def next(self) -> tuple[int, Event]:
            slot, event = super().next()
            if event["event"] == "epoch" and event["entry"]["epoch"] == 3:
                raise KeyboardInterrupt
            return slot, event

    runner = Runner(plan, estimate.estimate(plan), results, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        runner.run(pending(plan, results, "failed"))
    return sorted(results.folder.glob("state/*.safetensors"))


def replace(path: Path) -> None:
    """Replace a checkpoint by other bytes with a valid checksum."""
    Results(path.parent.parent).save_state(path.stem, b"not a checkpoint")


def edited(
    run: str = "", curves: Callable[[list[Any]], Any] = list, momentum: Tensor | None = None
) -> Callable[[Path], None]:
    """Return a function that changes parts of a checkpoint, and its checksum."""

    def edit(path: Path) -> None:
        results = Results(path.parent.parent)
        content = results.read_state(path.stem) or b""
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header["__metadata__"]
        entries = curves(json.loads(metadata["curves"]))
        changed = {"run": metadata["run"] + run, "curves": json.dumps(entries)}
        tensors = safetensors.torch.load(content)
        if momentum is not None:
            tensors["momentum/0"] = momentum
        results.save_state(path.stem, safetensors.torch.save(tensors, changed))

    return edit


DAMAGES = {
    "flipped": flip,
    "truncated": truncate,
    "replaced": replace,
    "emptied": lambda path: path.write_bytes(b""),
    "another run": edited(run="x"),
    "no curves": edited(curves=lambda curves: 5),
    "an empty entry": edited(curves=lambda curves: [{}]),
    "no epoch": edited(curves=lambda curves: [{**entry, "epoch": "x"} for entry in curves]),
    "99 epochs": edited(curves=lambda curves: curves[:1] * 99),
    "all epochs": edited(curves=lambda curves: [{**curves[0], "epoch": n + 1} for n in range(4)]),
    "no momentum": edited(momentum=torch.zeros(2, 2)),
}


@pytest.mark.soak
@pytest.mark.parametrize("damage", some(list(DAMAGES), 5))
def test_invalid_checkpoint_is_quarantined_and_its_run_restarts(
    damage: Callable[[Path], None], undisturbed: tuple[Plan, Results], with_teacher: Results,
    same: Same, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plan, _ = undisturbed
    first, *others = interrupt(plan, with_teacher)
    assert len(others) == 2
    DAMAGES[damage](first)
    name = plan.names()[first.stem]
    (notice,) = run(plan, with_teacher, capsys)
    assert notice.startswith(f"{name} restarts from epoch 0: its checkpoint is invalid (")
    assert notice.endswith(f") and was moved to {first.name}.corrupt")
    assert first.with_name(f"{first.name}.corrupt").exists()
    assert same(with_teacher)


def test_corrupt_checkpoint_is_not_parsed(
    with_teacher: Results, undisturbed: tuple[Plan, Results]
) -> None:
    first, *_ = interrupt(undisturbed[0], with_teacher)
    flip(first)
    with pytest.raises(Corrupt, match="its content does not match its sha256"):
        with_teacher.read_state(first.stem)


def test_clean_removes_quarantined_files(here: Path) -> None:
    plan = toy.plan(here)
    results = toy.run(plan, here)
    path = results.file(plan.cells[0].run)
    flip(path)
    toy.run(plan, here)
    corrupt = path.with_name(f"{path.name}.corrupt")
    assert f"would remove results/runs/{corrupt.name}" in bench("clean").stdout
    bench("clean", "--yes")
    assert not corrupt.exists()
