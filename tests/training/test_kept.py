"""The teacher's outputs on disk (`--keep-teacher`): the same numbers, without the teacher."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.api import Machine
from bench.errors import BenchError
from bench.planning.plan import Plan
from bench.results import Results
from bench.spec import DataSpec, Recipe, RunSpec, TermSpec
from bench.training.kept import KeptOutputs, key_of_outputs
from bench.training.teacher import Teacher
from distillers import Features
from tests import toy
from tests.data.toys import CPU

MACHINE = Machine(gpus=(), inline=True, keep_teacher=True)
SPEC = RunSpec(network="resnet8", teacher="t", seed=0)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches for which a teacher computed features."""
    sizes: list[int] = []
    compute = Teacher.__call__

    def counted(self, images, *arguments, **options):  # type: ignore[no-untyped-def]
        sizes.append(len(images))
        return compute(self, images, *arguments, **options)

    monkeypatch.setattr(Teacher, "__call__", counted)
    return sizes


def keep(plan: Plan, folder: Path) -> Results:
    results = Results(folder / "results")
    toy.api.execute(plan, results, MACHINE)
    return results


def numbers(plan: Plan, results: Results) -> dict[str, str]:
    return {cell.method.name: toy.numbers(results.record(cell.run)) for cell in plan.cells}


@pytest.mark.slow
@pytest.mark.parametrize("members", ["", "2"])
@pytest.mark.parametrize("kept", ["{kd: papers}", "{at: papers}"])  # AT also reads stages
def test_a_later_method_gets_the_same_numbers_without_the_teacher(
    kept: str, members: str, tmp_path: Path, passes: list[int]
) -> None:
    pair = f"[{{teacher: resnet8, student: resnet8, members: {members}}}]"
    lines = {"pairs": pair} if members else {}
    later = "{pkt: papers, rkd: papers}"
    expected = toy.outcome(toy.plan(tmp_path, methods=later, **lines), tmp_path / "usual")
    keep(toy.plan(tmp_path, methods=kept, **lines), tmp_path)
    assert len(list((tmp_path / "results/teacher_outputs").iterdir())) == 2, "a file an epoch"
    passes.clear()
    plan = toy.plan(tmp_path, methods=later, **lines)
    assert numbers(plan, keep(plan, tmp_path)) == expected
    assert not passes


def test_a_method_that_reads_stages_runs_the_teacher(tmp_path: Path, passes: list[int]) -> None:
    expected = toy.outcome(toy.plan(tmp_path, methods="{at: papers}"), tmp_path / "usual")
    keep(toy.plan(tmp_path, methods="{kd: papers}"), tmp_path)
    passes.clear()
    plan = toy.plan(tmp_path, methods="{at: papers}")
    assert numbers(plan, keep(plan, tmp_path)) == expected
    assert passes


def test_damaged_outputs_are_computed_again(tmp_path: Path, passes: list[int]) -> None:
    expected = toy.outcome(toy.plan(tmp_path, methods="{pkt: papers}"), tmp_path / "usual")
    results = keep(toy.plan(tmp_path, methods="{kd: papers}"), tmp_path)
    files = sorted(results.teacher_outputs.iterdir())
    content = bytearray(files[0].read_bytes())
    content[-1] ^= 1
    files[0].write_bytes(content)
    passes.clear()
    plan = toy.plan(tmp_path, methods="{pkt: papers}")
    assert numbers(plan, keep(plan, tmp_path)) == expected
    assert sum(passes) == plan.facts.train, "one of two epochs"
    assert sorted(results.teacher_outputs.iterdir()) == files, "written again"


def test_an_incomplete_epoch_leaves_no_file(tmp_path: Path) -> None:
    features = Features((), torch.rand(4, 3), torch.rand(4, 2))
    folder = tmp_path / "kept"
    kept = KeptOutputs(folder, "key", 6, [(2, 3)], CPU)
    images = torch.zeros(4, 3, 8, 8)
    for complete in (False, True):  # even if complete: two of six images have no outputs
        kept.writing(0, lambda *_: [features])(images, None)
        kept.close(0, complete=complete)
        assert not list(folder.iterdir())
    kept = KeptOutputs(folder, "key", 5, [(2, 3)], CPU)  # the fifth image alone is no batch
    kept.writing(0, lambda *_: [features])(images, None)
    kept.close(0, complete=True)
    reading = kept.reading(0)
    assert reading is not None
    [read] = reading(images, None)
    assert torch.equal(read.logits, features.logits)
    assert torch.equal(read.pooled, features.pooled)


def key(spec: RunSpec, sha256: str = "a", stages: Sequence[str] = ()) -> str:
    return key_of_outputs(spec, sha256, CPU, stages)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"data": DataSpec(per_class=3)},
        {"teacher_view": "grey"},
        {"teacher": "another run"},
        {"revision": 2},
        {"recipe": Recipe(batch_size=32)},
        {"recipe": Recipe(mixup=0.2)},
        {"recipe": Recipe(precision="bf16")},
    ],
)
def test_outputs_depend_on(other: dict[str, object]) -> None:
    changed = SPEC.model_copy(update=other)
    assert key(SPEC) != key(changed)


def test_outputs_depend_on_the_teacher_but_not_on_the_student() -> None:
    assert key(SPEC) != key(SPEC, "b")
    assert key(SPEC) != key(SPEC, stages=["layer1"])
    method = {"kd": TermSpec(weight=1.0)}
    other = {"network": "resnet14", "method": method, "recipe": Recipe(lr=0.01, epochs=3)}
    assert key(SPEC) == key(SPEC.model_copy(update=other))


def test_outputs_cannot_be_kept_with_cuda_graphs() -> None:
    machine = replace(MACHINE, graphs=True, gpus=None)
    with pytest.raises(BenchError, match="--cuda-graphs"):
        machine.devices()
