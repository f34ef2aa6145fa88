"""Checkpoints and states are data: nothing in them runs, nothing in them is larger than it is."""

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
from bench.training.pretrained import LONGEST_NAME, read_state
from tests import toy
from tests.command import ROOT, bench
from tests.security import hostile
from tests.security.hostile import Payload
from tests.soak import times

MOST_MEMORY = 100 * 1024**2  # bytes beyond what torch takes; the files claim 4 GiB, or hold 200 MiB


def saved(content: Any, *, before: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=not before)
    return out.getvalue()


WAYS: dict[str, Callable[[Any], bytes]] = {
    "since 1.6": saved,
    "before 1.6": lambda thing: saved(thing, before=True),
    "a bare pickle": lambda thing: pickle.dumps(thing, protocol=2),
    "a modern pickle": pickle.dumps,
}


def test_the_payload_would_run_where_pickles_are_loaded(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed"))).close()
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_payload_in_a_teacher_does_not_run(way: str, here: Path) -> None:
    mark = here / "executed"
    (here / "evil.pth").write_bytes(WAYS[way]({"model": {"conv1.weight": Payload(mark)}}))
    toy.write(here, teachers="{checkpoints: {resnet8: evil.pth}}", methods="[kd]")
    found = bench("run", "toy.yaml", "--tracker", "none", "--inline", "--view", "plain")
    assert found.exit_code == 3
    assert not mark.exists()
    records = Results(here / "results").records()
    assert {r["kind"]: r["status"] for r in records} == {"teacher": "failed", "student": "skipped"}
    assert "evil.pth: not a checkpoint of plain tensors" in found.stdout


@pytest.mark.parametrize("way", WAYS)
def test_a_payload_in_a_state_does_not_run(way: str, here: Path) -> None:
    mark, whole = here / "executed", toy.plan(here, methods="[student]")
    results = Results(here / "results")
    for run in whole.runs:
        results.save_state(run, WAYS[way]({"net": Payload(mark), "epoch": 1}))
    bench("run", "toy.yaml", "--tracker", "none", "--inline")
    assert not mark.exists()
    assert all(results.record(run) for run in whole.runs)


READ = """
import sys
from pathlib import Path
import torch
from bench.results.environment import peak_memory
from bench.errors import TeacherRefused
from bench.training.checkpoints import read_state

peak = lambda: peak_memory(torch.device('cpu'))
for name in sys.argv[1:]:
    before = peak()
    try:
        read_state(Path(name))
        said = "read"
    except TeacherRefused as error:
        said = str(error)
    print(name, peak() - before, said, sep="\\t")
"""


RESTORE = """
import sys
from pathlib import Path
import torch
from bench.results.environment import peak_memory
from bench.execution.protocol import Job, Task
from bench.execution.worker import JobContext, load_data, make_trainers
from tests import toy

peak = lambda: peak_memory(torch.device('cpu'))
run = next(iter(toy.plan(Path()).runs.values()))
task = Task(run.id, "resnet8", run.specification)
notices = []
job = Job("j", (task,), None, "cpu", 1, "results", "digits", None)
context = JobContext.of(job, lambda event: notices.append(event["text"]))
dataset = load_data(context)
make_trainers(context, [task], dataset, None)
for name in sys.argv[1:]:
    context.results.save_state(task.id, Path(name).read_bytes())
    before = peak()
    (trainer,) = make_trainers(context, [task], dataset, None)
    assert trainer.epoch == 0
    print(name, peak() - before, notices.pop(), sep="\\t")
"""


@pytest.mark.parametrize(
    ("code", "refusal"),
    [(READ, "{}: not a checkpoint of plain tensors"), (RESTORE, "resnet8 restarts from epoch 0: ")],
    ids=["checkpoint", "state"],
)
def test_what_claims_to_be_large_takes_no_memory(code: str, refusal: str, tmp_path: Path) -> None:
    files = hostile.oversized()
    for name, content in files.items():
        assert len(content) < 20 * 1024**2
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", code, *files]
    found = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.split("\t") for line in found.stdout.splitlines()]
    assert [name for name, *_ in lines] == list(files)
    for name, grown, said in lines:
        assert said.startswith(refusal.format(name))
        assert int(grown) < MOST_MEMORY, name


@pytest.mark.parametrize(
    "content",
    [
        {1: torch.ones(1)},
        {"a": 1},
        {"a": [torch.ones(1)]},
        {"model": {("a", "b"): torch.ones(1)}},
        {"x\x1b[2J": torch.ones(1)},
        {"a\u202eb": torch.ones(1)},
        {"a" * (LONGEST_NAME + 1): torch.ones(1)},
        [torch.ones(1)],
    ],
    ids=["number", "value", "list", "tuple", "escape", "direction", "long", "bare list"],
)
def test_what_is_no_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(TeacherRefused, match="no state_dict in it"):
        read_state(path)


@pytest.mark.parametrize("before", [False, True])
def test_what_training_scripts_save_is_read(before: bool, tmp_path: Path) -> None:
    net = models.build("resnet8", 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    torch.nn.functional.cross_entropy(
        net(torch.ones(2, 3, 8, 8)).logits, torch.ones(2).long()
    ).backward()
    optimizer.step()
    path, state = tmp_path / "x.pth", net.state_dict()
    known = {"epoch": 240, "best_acc": torch.tensor(72.5), "optimizer": optimizer.state_dict()}
    path.write_bytes(saved({**known, "model": state}, before=before))
    found = read_state(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["since.pth", "before.pth", "x.safetensors"])
def test_damaged_checkpoints_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    state = {"conv.weight": torch.randn(4, 3), "conv.bias": torch.ones(4, dtype=torch.float16)}
    whole = (
        safetensors.torch.save(state) if "safe" in kind else saved(state, before="before" in kind)
    )
    path, refused = tmp_path / kind, 0
    for number in range(times(150, 20_000)):
        rng, content = random.Random(number), bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(min(len(content), rng.choice((200, len(content)))))
            content[at : at + rng.choice((1, 1, 1, 8))] = rng.randbytes(rng.choice((0, 1, 1, 8)))
        path.write_bytes(content)
        try:
            assert all(isinstance(value, torch.Tensor) for value in read_state(path).values())
        except TeacherRefused:
            refused += 1
    assert refused > number / 4
