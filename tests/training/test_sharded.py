"""A run over several devices is the run of one: the same id, the same numbers within rounding."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from bench import api
from bench.api import Machine
from bench.data import Share
from bench.errors import BenchError
from bench.execution.executors.local import Processes
from bench.execution.protocol import Event, Job
from bench.execution.runner import _summary, _task
from bench.planning.plan import Plan
from bench.results import Results
from bench.training import loop
from bench.training.trainer import Learner
from tests import toy
from tests.command import ROOT
from tests.execution.test_runner import alive, children, workers
from tests.soak import LONG
from tests.training import ranked
from tests.training.test_lockstep import EVERY

SMALL = {  # batches of 14, 14 and 2: two cannot be parted among three
    "dataset": "{name: digits, per_class: 3, test_per_class: 5}",
    "recipe": "{epochs: 1, batch_size: 14, lr: 0.002, milestones: [], crop: 1, flip: true}",
}
ODD = "wild: {ce: 1, kd: 1.0e+30}, broken: {ce: 1, broken: 1}"
BROKEN = '''
"""A distiller that breaks."""

import torch.distributed as dist

from distillers import Distiller


class Broken(Distiller):
    """L is not defined."""

    paper = "None"
    reads = ("logits",)

    def __init__(self, setting, *, rank: int = -1) -> None:
        super().__init__(setting)
        self.rank = rank

    def forward(self, student, teacher, batch):
        if self.rank < 0 or dist.get_rank() == self.rank:
            raise ValueError("broken")
        return student.logits.mean()
'''


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Results]:
    """All methods, one that diverges and one that breaks, on one device."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "broken.py").write_text(BROKEN)
    every = ", ".join(f"{name}: papers" for name in EVERY[1:-1].split(", "))
    whole = toy.plan(folder, methods=f"{{{every}, {ODD}}}", plugins="[broken.py]", **SMALL)
    return whole, toy.run(whole, folder)


def run_over(whole: Plan, results: Results, devices: int) -> None:
    api.execute(whole, results, Machine(gpus=(), workers=1, per_run=devices))


def students(whole: Plan) -> list[str]:
    return [run.id for run in whole.runs.values() if run.kind == "student"]


def weights(results: Results, run: str) -> dict[str, Tensor]:
    held = safetensors.torch.load_file(results.weights(run))
    return {name: value.double() for name, value in held.items()}


def same(one: Results, other: Results, run: str, rel: float) -> None:
    """Hold records to each other: losses to rounding, weights to a part of the way they went."""
    expected, found = one.record(run), other.record(run)
    assert expected is not None
    assert found is not None
    assert (found["status"], found["reason"]) == (expected["status"], expected["reason"])
    assert len(found["curves"]) == len(expected["curves"])
    if expected["status"] == "done":
        for before, now in zip(expected["curves"], found["curves"], strict=True):
            assert now["terms"] == pytest.approx(before["terms"], rel=1e-4)
            assert now["loss"] == pytest.approx(before["loss"], rel=1e-4)
        ours, theirs = weights(one, run), weights(other, run)
        assert ours.keys() == theirs.keys()
        first = start(expected)
        apart = norm({name: ours[name] - theirs[name] for name in first})
        assert apart < rel * norm({name: ours[name] - first[name] for name in first})
        for name in ours.keys() - first.keys():  # running statistics
            torch.testing.assert_close(theirs[name], ours[name], rtol=1e-3, atol=1e-5, msg=name)


def start(record: dict) -> dict[str, Tensor]:  # type: ignore[type-arg]
    """The parameters that the network began with."""
    from bench import models, seeding

    seed, network = record["seed"], record["network"]["name"]
    with seeding.initialised_by("weights", record["kind"], seed, network):
        return {k: v.detach().double() for k, v in models.build(network, 10).named_parameters()}


def norm(tensors: dict[str, Tensor]) -> float:
    return torch.cat([value.flatten() for value in tensors.values()]).norm().item()


@pytest.mark.parametrize("devices", [2, 3])
def test_every_method_gives_the_numbers_of_one_device(
    devices: int, alone: tuple[Plan, Results], tmp_path: Path
) -> None:
    whole, expected = alone
    found = Results(Path(shutil.copytree(expected.folder, tmp_path / "results")))
    for run in students(whole):
        found.forget(run)
    run_over(whole, found, devices)
    assert len(students(whole)) == 16
    for run in students(whole):
        same(expected, found, run, rel=1e-3)
        environment = (found.record(run) or {})["environment"]
        assert environment["device"].startswith(f"{devices} x CPU")


def test_a_step_is_that_of_one_device_to_the_last_digits(tmp_path: Path) -> None:
    """In float64: gradients and statistics."""
    job = Job("j", (), None, "cpu+cpu+cpu", 1, "r", "digits", None)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.ranked", job.to_json(), str(rank), tmp_path],
            cwd=ROOT,
        )
        for rank in range(3)
    ]
    assert [one.wait(300) for one in started] == [0] * 3
    expected = ranked.stepped(Share())
    for rank in range(3):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12, msg=name)


class Stopped(Exception):
    """A power cut."""


def test_a_run_goes_on_over_another_number_of_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one device to two after the first epoch, and to one again after the second."""
    three = {**SMALL, "recipe": SMALL["recipe"].replace("epochs: 1", "epochs: 3")}
    whole = toy.plan(tmp_path, methods="[crd+kd]", **three)
    expected = toy.run(whole, tmp_path / "expected")
    (run,) = students(whole)
    found = Results(Path(shutil.copytree(expected.folder, tmp_path / "found")))
    found.forget(run)
    train = loop.train

    def cut(learners, teacher, data, seed, after, record):  # type: ignore[no-untyped-def]
        def stopping(learner: Learner) -> None:
            after(learner)
            raise Stopped

        train(learners, teacher, data, seed, stopping, record)

    monkeypatch.setattr(loop, "train", cut)
    here = Machine(gpus=(), inline=True)
    with pytest.raises(Stopped):
        api.execute(whole, found, here)
    teacher = next(iter(whole.runs.values()))
    job = Job(
        "j", (_task(whole.runs[run], "t"),), _summary(found.record(teacher.id) or {}),
        "cpu+cpu", 1, str(found.folder), "digits", None,
    )  # fmt: skip
    executor = Processes(["cpu+cpu"], tmp_path / "logs")
    executor.start(0, job)
    event = executor.next()[1]
    executor.stop()
    assert event["event"] == "epoch"
    assert event["entry"]["epoch"] == 2
    monkeypatch.undo()
    api.execute(whole, found, here)
    same(expected, found, run, rel=1e-3)


def endless(folder: Path) -> tuple[Processes, int, int]:
    """A run over two devices that is under way: its executor, its worker, its second rank."""
    whole = toy.plan(folder, recipe="{epochs: 100000, batch_size: 16}", teachers="{}")
    task = _task(next(iter(whole.runs.values())), "t")
    executor = Processes(["cpu+cpu"], folder / "logs")
    executor.start(0, Job("j", (task,), None, "cpu+cpu", 1, str(folder / "r"), "digits", None))
    assert executor.next()[1]["event"] == "epoch"
    (worker,) = workers(os.getpid())
    (rank,) = workers(worker)
    return executor, worker, rank


def last(executor: Processes) -> Event:
    while True:
        event = executor.next()[1]
        if event["event"] == "exit":
            return event


def test_ranks_talk_on_this_machine_alone_and_one_that_dies_is_told(tmp_path: Path) -> None:
    executor, worker, rank = endless(tmp_path)
    addresses = {address for pid in (worker, rank) for address in listening(pid)}
    assert addresses == {"0100007F"}
    os.kill(rank, signal.SIGKILL)
    reason = last(executor)["reason"]
    assert reason.startswith(
        "its worker ended with exit code 1: rank 1 on cpu ended: by signal 9 (see "
    )
    assert children(worker) == []


def test_ranks_end_with_their_worker(tmp_path: Path) -> None:
    executor, worker, rank = endless(tmp_path)
    os.kill(worker, signal.SIGKILL)
    assert "signal 9" in last(executor)["reason"]
    end = time.monotonic() + 10
    while alive(rank) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(rank)


@pytest.mark.soak
@pytest.mark.skipif(not LONG, reason="the ranks wait for each other for 10 s")
def test_an_error_of_one_rank_ends_the_worker(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    method = "{m: {ce: 1, broken: {weight: 1, rank: 1}}}"
    whole = toy.plan(tmp_path, methods=method, plugins="[broken.py]", **SMALL)
    results = Results(tmp_path / "results")
    run_over(whole, results, 2)
    (run,) = students(whole)
    record = results.record(run)
    assert record is not None
    assert record["status"] == "failed"
    assert "rank 1 on cpu ended: ValueError: broken" in record["reason"]


def listening(pid: int) -> list[str]:
    """The addresses on which a process listens, as Linux has them: in hex, reversed."""
    sockets = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    found = []
    for table in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()]
        found += [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    return [address.split(":")[0] for address in found]


def test_parts_are_the_batch_in_order() -> None:
    for count in range(1, 20):
        for devices in range(1, 5):
            parts = Share(0, devices).parts(count)
            assert [i for part in parts for i in range(count)[part]] == list(range(count))
            sizes = [part.stop - part.start for part in parts]
            assert max(sizes) - min(sizes) <= 1
            assert len(parts) == (devices if count >= devices else 1)
            assert Share(devices - 1, devices).own(count) == parts[-1]


def test_devices_are_grouped_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert Machine().devices() == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert Machine(per_run=2).devices() == ["cuda:0+cuda:1", "cuda:2+cuda:3"]
    assert Machine(gpus=(3, 1), per_run=2).devices() == ["cuda:3+cuda:1"]
    assert Machine(gpus=(), workers=2, per_run=3).devices() == ["cpu+cpu+cpu"] * 2
    for wrong, said in [
        (Machine(per_run=3), "4 GPUs are not a multiple of 3"),
        (Machine(per_run=2, per_gpu=2), "only one cohort at a time"),
    ]:
        with pytest.raises(BenchError, match=said):
            wrong.devices()
    with pytest.raises(BenchError, match="--inline"):
        Machine(gpus=(), inline=True, per_run=2).executor(Results(Path("r")), 0)
