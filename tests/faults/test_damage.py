"""Files that are no longer what was written: found by their sums, set aside, told, done again."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import api
from bench.api import Machine
from bench.execution.executors.local import Inline
from bench.execution.runner import Runner, pending
from bench.planning import estimate
from bench.planning.plan import Plan
from bench.results import Corrupt, Results
from tests import toy
from tests.command import bench, wrong

HERE = Machine(gpus=(), inline=True)
Same = Callable[[Results], bool]


def flipped(path: Path) -> None:
    """One bit in the middle is another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def truncated(path: Path) -> None:
    """The second half is gone."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def run(whole: Plan, results: Results, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Do what is missing; what was noticed meanwhile."""
    assert api.execute(whole, results, HERE, view="plain") == []
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("notice    ") for line in lines if line.startswith("notice")]


@pytest.mark.parametrize("damage", [flipped, truncated])
def test_a_damaged_record_is_set_aside_and_done_again(
    damage: Callable[[Path], None], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = toy.plan(here)
    results = toy.run(whole, here)
    before = [toy.numbers(results.record(id)) for id in whole.runs]
    path = results.file(whole.cells[0].run)
    damage(path)
    for verb in ("report", "status"):
        said = wrong(bench(verb, "toy.yaml"))
        assert said.startswith(f"results/runs/{path.name}: damaged: "), "no half table"
        assert said.endswith("`bench run` sets it aside and does the run again")
    (notice,) = run(whole, results, capsys)
    assert f"{path.name}: damaged: " in notice
    assert notice.endswith(f"set aside as {path.name}.corrupt")
    assert path.with_name(f"{path.name}.corrupt").exists()
    assert [toy.numbers(results.record(id)) for id in whole.runs] == before
    assert run(whole, results, capsys) == []


@pytest.mark.parametrize("damage", [flipped, truncated, lambda path: path.write_bytes(b"")])
def test_a_damaged_teacher_is_made_again_before_students_learn_from_it(
    damage: Callable[[Path], None], undisturbed: tuple[Plan, Results], taught: Results, same: Same,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole, _ = undisturbed
    path = taught.weights(next(iter(whole.runs)))
    damage(path)
    (notice,) = run(whole, taught, capsys)
    assert f"{path}: damaged: its sha256 is " in notice
    assert path.with_name(f"{path.name}.corrupt").exists()
    assert same(taught)


def interrupted(whole: Plan, results: Results) -> list[Path]:
    """Stop in the second epoch of the students; their states."""

    class Stop(Inline):
        def next(self):  # type: ignore[no-untyped-def]
            slot, event = super().next()
            if event["event"] == "epoch" and event["entry"]["epoch"] == 3:
                raise KeyboardInterrupt
            return slot, event

    runner = Runner(whole, estimate.forecast(whole), results, Stop())
    with pytest.raises(KeyboardInterrupt):
        runner.run(pending(whole, results, "failed"))
    return sorted(results.folder.glob("state/*.pt"))


def foreign(path: Path) -> None:
    """A whole state, but of another network."""
    results = Results(path.parent.parent)
    results.keep_state(path.stem, b"no state of torch")


def odd(**changes: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A state with a good sum, of which some parts are others."""

    def damage(path: Path) -> None:
        results, content = Results(path.parent.parent), io.BytesIO()
        state = torch.load(io.BytesIO(results.read_state(path.stem) or b""))
        torch.save(state | {name: made(state[name]) for name, made in changes.items()}, content)
        results.keep_state(path.stem, content.getvalue())

    return damage


DAMAGES = {
    "flipped": flipped,
    "truncated": truncated,
    "foreign": foreign,
    "emptied": lambda path: path.write_bytes(b""),
    "another run": odd(run=lambda run: f"{run}x"),
    "no curves": odd(curves=lambda curves: 5),
    "an empty entry": odd(curves=lambda curves: [{}]),
    "no epoch": odd(curves=lambda curves: [{**entry, "epoch": "x"} for entry in curves]),
    "99 epochs": odd(curves=lambda curves: curves[:1] * 99),
    "all epochs": odd(curves=lambda curves: [{**curves[0], "epoch": n + 1} for n in range(4)]),
    "no momentum": odd(momentum=lambda held: [torch.zeros(2, 2), *held[1:]]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_set_aside_and_its_run_starts_afresh(
    damage: Callable[[Path], None], undisturbed: tuple[Plan, Results], taught: Results, same: Same,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole, _ = undisturbed
    first, *others = states = interrupted(whole, taught)
    assert len(states) == 3
    damage(first)
    name = whole.names()[first.stem]
    (notice,) = run(whole, taught, capsys)
    assert notice.startswith(f"{name} starts afresh: {first.name}, now {first.name}.corrupt, is of")
    assert first.with_name(f"{first.name}.corrupt").exists()
    assert same(taught)


def test_a_damaged_state_is_never_read(taught: Results, undisturbed: tuple[Plan, Results]) -> None:
    (first, *_) = interrupted(undisturbed[0], taught)
    flipped(first)
    with pytest.raises(Corrupt, match="its content is not that of its sha256"):
        taught.read_state(first.stem)


def test_clean_removes_what_was_set_aside(here: Path) -> None:
    whole = toy.plan(here)
    results = toy.run(whole, here)
    path = results.file(whole.cells[0].run)
    flipped(path)
    toy.run(whole, here)
    aside = path.with_name(f"{path.name}.corrupt")
    assert f"would remove results/runs/{aside.name}" in bench("clean").stdout
    bench("clean", "--yes")
    assert not aside.exists()
