"""Checkpoints are data: no code in them is executed, and they take no more memory than bytes."""

import io
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bench import models
from bench.errors import TeacherRefused
from bench.results import Results
from bench.training.pretrained import MAX_NAME_LENGTH, read
from tests import toy
from tests.command import ROOT, bench
from tests.security import hostile
from tests.security.hostile import Payload
from tests.soak import times

MAX_MEMORY = 100 * 1024**2  # bytes beyond torch's own; the files claim 4 GiB, or unpack to 200 MiB


def saved(content: Any, *, old_format: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=not old_format)
    return out.getvalue()


FORMATS: dict[str, Callable[[Any], bytes]] = {
    "since 1.6": saved,
    "before 1.6": lambda content: saved(content, old_format=True),
    "a bare pickle": lambda content: pickle.dumps(content, protocol=2),
    "a modern pickle": pickle.dumps,
}


def test_payload_runs_when_a_pickle_is_loaded_without_protection(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed"))).close()
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_payload_in_a_teacher_is_not_executed(format_: str, here: Path) -> None:
    mark = here / "executed"
    (here / "evil.pth").write_bytes(FORMATS[format_]({"model": {"conv1.weight": Payload(mark)}}))
    toy.write(here, teachers="{checkpoints: {resnet8: evil.pth}}", methods="[kd]")
    result = bench("run", "toy.yaml", "--tracker", "none", "--inline", "--view", "plain")
    assert result.exit_code == 3
    assert not mark.exists()
    records = Results(here / "results").records()
    assert {r.kind: r.status for r in records} == {"teacher": "failed", "student": "skipped"}
    assert "evil.pth: not a checkpoint of plain tensors" in result.stdout


class Call:
    """An object whose pickle calls a function of an installed package when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return toy.write, (str(self.folder),)


@pytest.mark.parametrize("format_", ["since 1.6", "before 1.6"])
def test_function_of_a_package_is_not_called_and_the_weights_are_read(
    format_: str, tmp_path: Path
) -> None:
    state = models.build("resnet8", 10).state_dict()
    content = {"model": state, "settings": Call(tmp_path), "more": [Call(tmp_path)]}
    (tmp_path / "x.pth").write_bytes(FORMATS[format_](content))
    contents = read(tmp_path / "x.pth")
    assert contents.containers["model"].keys() == state.keys()
    assert contents.not_loaded == ("tests.toy.write",)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


@pytest.mark.parametrize("format_", FORMATS)
def test_payload_beside_the_weights_is_refused(format_: str, tmp_path: Path) -> None:
    content = {"model": {"x": torch.ones(1)}, "settings": Payload(tmp_path / "executed")}
    (tmp_path / "x.pth").write_bytes(FORMATS[format_](content))
    with pytest.raises(TeacherRefused, match="not a checkpoint of plain tensors"):
        read(tmp_path / "x.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_payload_in_the_checkpoint_of_a_run_is_not_executed(format_: str, here: Path) -> None:
    mark, plan = here / "executed", toy.plan(here, methods="[student]")
    results = Results(here / "results")
    for run in plan.runs:
        results.save_state(run, FORMATS[format_]({"net": Payload(mark), "epoch": 1}))
    bench("run", "toy.yaml", "--tracker", "none", "--inline")
    assert not mark.exists()
    assert all(results.record(run) for run in plan.runs)


MEASURE = """
import sys
from pathlib import Path
import torch
from bench.results.environment import peak_memory
from bench.training.checkpoint import decode
from bench.training import pretrained

READERS = {
    "pretrained": lambda path: pretrained.read(path),
    "checkpoint": lambda path: decode(path.read_bytes(), "a", "t", range(1, 4), {False: {"ce"}}),
}
reader, *names = sys.argv[1:]
peak = lambda: peak_memory(torch.device("cpu"))
for name in names:
    before = peak()
    try:
        READERS[reader](Path(name))
        outcome = "read"
    except Exception as error:
        outcome = type(error).__name__
    print(name, peak() - before, outcome, sep="\t")
"""


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["pretrained", "checkpoint"])
def test_small_file_that_claims_to_be_large_takes_no_memory(reader: str, tmp_path: Path) -> None:
    files = hostile.oversized()
    metadata = {"run": "a", "curves": f"[{'[],' * 650_000}[]]"}
    files["curves.safetensors"] = hostile.safetensors({"__metadata__": metadata})
    if reader == "pretrained":
        del files["curves.safetensors"]  # metadata is not read
    for name, content in files.items():
        assert len(content) < 20 * 1024**2
        (tmp_path / name).write_bytes(content)
    process = subprocess.run(
        [sys.executable, "-c", MEASURE, reader, *files],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.split("\t") for line in process.stdout.splitlines()]
    assert [name for name, *_ in lines] == list(files)
    for name, growth, outcome in lines:
        assert outcome in {"TeacherRefused", "ValueError", "SafetensorError"}, name
        assert int(growth) < MAX_MEMORY, name


@pytest.mark.parametrize(
    "content",
    [
        {1: torch.ones(1)},
        {"a": 1},
        {"a": [torch.ones(1)]},
        {"model": {("a", "b"): torch.ones(1)}},
        {"x\x1b[2J": torch.ones(1)},
        {"a\u202eb": torch.ones(1)},
        {"a" * (MAX_NAME_LENGTH + 1): torch.ones(1)},
        [torch.ones(1)],
    ],
    ids=["number", "value", "list", "tuple", "escape", "direction", "long", "bare list"],
)
def test_content_other_than_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(TeacherRefused, match="contains no state_dict"):
        read(path)


@pytest.mark.parametrize("old_format", [False, True])
def test_checkpoints_of_training_scripts_are_read(old_format: bool, tmp_path: Path) -> None:
    net = models.build("resnet8", 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    torch.nn.functional.cross_entropy(
        net(torch.ones(2, 3, 8, 8)).logits, torch.ones(2).long()
    ).backward()
    optimizer.step()
    path, state = tmp_path / "x.pth", net.state_dict()
    rest = {"epoch": 240, "best_acc": torch.tensor(72.5), "optimizer": optimizer.state_dict()}
    path.write_bytes(saved({**rest, "model": state}, old_format=old_format))
    tensors = read(path).containers["model"]
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], state[name]) for name in state)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["since.pth", "before.pth", "x.safetensors"])
def test_damaged_checkpoints_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    state = {"conv.weight": torch.randn(4, 3), "conv.bias": torch.ones(4, dtype=torch.float16)}
    old_format = kind == "before.pth"
    intact = saved(state, old_format=old_format)
    if kind == "x.safetensors":
        intact = safetensors.torch.save(state)
    path, refused = tmp_path / kind, 0
    for number in range(times(150, 20_000)):
        rng, content = random.Random(number), bytearray(intact)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(min(len(content), rng.choice((200, len(content)))))
            content[at : at + rng.choice((1, 1, 1, 8))] = rng.randbytes(rng.choice((0, 1, 1, 8)))
        path.write_bytes(content)
        try:
            assert read(path).containers
        except TeacherRefused:
            refused += 1
    assert refused > number / 4
