"""kill -9 at any moment, of the command or of a worker: nothing finished is lost, nor changed."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.api import Machine
from bench.callbacks import mlflow
from bench.execution.executors.local import Processes
from bench.execution.runner import Runner, pending
from bench.planning import estimate
from bench.planning.plan import Plan
from bench.report import build
from bench.results import Record, Results
from tests import soak, toy
from tests.execution.test_runner import workers
from tests.faults.commands import Commands, gone, granted
from tests.faults.conftest import LINES

RUN = ("run", "toy.yaml", "--tracker", "none", "--json", "--workers", 1)
Same = Callable[[Results], bool]


def finished(results: Results) -> dict[str, bytes]:
    """The files of the records of runs that are done."""
    done = (record["id"] for record in results.records() if record["status"] == "done")
    return {id: results.file(id).read_bytes() for id in done}


def moment(commands: Commands, chance: random.Random) -> None:
    """Wait for any moment of a command: of its start, or a little after one of its events."""
    events = chance.randint(0, 5)
    commands.until(lambda: len(commands.events) >= events, 60)
    time.sleep(chance.uniform(0, 0.2 if events else 4.0))


def harried(commands: Commands, results: Results, kills: int, *run: object) -> int:
    """Give a command until it is through, and kill it, or one of its workers, so many times.

    Where it is through before, the records are forgotten: how often it was.
    """
    chance, rounds = random.Random(0), 1
    commands.start(*run)
    while kills:
        kept = finished(results)
        moment(commands, chance)
        victims = [commands.pid] if kills % 2 else commands.workers
        if commands.code is None and victims:
            os.kill(chance.choice(victims), signal.SIGKILL)
            kills -= 1
        if victims == [commands.pid] or commands.code is not None:
            assert commands.end() in (0, 3, -signal.SIGKILL), commands.said
            if commands.code == 0:
                rounds, kept = rounds + 1, {}
                for record in list(results.records()):
                    results.forget(record["id"])
            commands.start(*run)
        assert kept.items() <= finished(results).items()
    if commands.end() == 3:  # where the workers of one cohort were killed twice
        commands.start(*run)
    assert commands.end() == 0, commands.said
    return rounds


@pytest.mark.soak
def test_kills_at_random_moments(
    commands: Commands, undisturbed: tuple[Plan, Results], same: Same, tmp_path: Path
) -> None:
    whole, done = undisturbed
    toy.write(tmp_path, **LINES)
    results = Results(tmp_path / "results")
    kills = soak.times(4, 50)
    rounds = harried(commands, results, kills, *RUN)
    print(f"{kills} kills in {rounds} rounds")
    assert same(results)
    made, expected = build.write(whole, results), build.write(whole, done)
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in expected]


@pytest.mark.soak
@pytest.mark.skipif(not soak.LONG, reason="takes half an hour")
def test_kills_of_the_quickstart(commands: Commands, tmp_path: Path) -> None:
    """With MLflow, whose store is killed as well; nothing is in it twice."""
    done, results = Results(tmp_path / "undisturbed"), Results(tmp_path / "results")
    run = ("run", "quickstart", "--json")
    commands.start(*run, "--tracker", "none", "--results", done.folder)
    assert commands.end(3600.0) == 0
    rounds = harried(commands, results, 50, *run)
    print(f"50 kills in {rounds} rounds")
    whole = api.load_plan("quickstart")
    for id in whole.runs:
        assert toy.numbers(results.record(id)) == toy.numbers(done.record(id))
    made, expected = (results.folder / "quickstart.md", done.folder / "quickstart.md")
    assert made.read_bytes() == expected.read_bytes()
    assert api.sync(whole, results).warnings == []
    client = mlflow.client(mlflow.tracking_uri(results))
    found = client.search_runs([client.get_experiment_by_name("quickstart").experiment_id])
    assert sorted(run.data.tags["bench.run_id"] for run in found) == sorted(whole.runs)


class Saboteur:
    """An observer that strikes the worker at the first epoch of each attempt."""

    def __init__(self, executor: Processes, *strikes: int) -> None:
        self.executor, self.strikes = executor, list(strikes)
        self.notices: list[str] = []
        self.epochs: list[tuple[str, int]] = []
        self.armed = False

    def started(self, *_: Any) -> None:
        self.armed = True

    def epoch(self, run: str, entry: dict[str, Any]) -> None:
        self.epochs.append((run, entry["epoch"]))
        if self.armed and self.strikes:
            self.armed, strike = False, self.strikes.pop(0)
            if strike == signal.SIGSTOP:
                self.executor.patience = 0.5
            (worker,) = workers(os.getpid())
            self.struck = time.monotonic()
            os.kill(worker, strike)

    def notice(self, text: str) -> None:
        self.notices.append(text)
        self.executor.patience = 1800.0

    def record(self, record: Record) -> None:
        self.noticed = time.monotonic() - self.struck

    def closed(self) -> None:
        pass


def test_a_worker_that_hangs_and_then_is_killed(
    undisturbed: tuple[Plan, Results], taught: Results, same: Same
) -> None:
    whole, _ = undisturbed
    executor = Processes(["cpu"], taught.folder / "logs")
    saboteur = Saboteur(executor, signal.SIGSTOP, signal.SIGKILL)
    runner = Runner(whole, estimate.forecast(whole), taught, executor, [saboteur])
    runner.run(pending(whole, taught, "failed"))
    (notice,) = saboteur.notices
    assert notice.startswith("resnet8/resnet8 student seed 0 and 2 more: its worker said nothing")
    assert notice.endswith("once more from the last epoch")
    assert saboteur.noticed < granted(2.0)
    assert len(set(saboteur.epochs)) == len(saboteur.epochs) >= 2, "no epoch is done twice"
    students = [taught.record(run.id) for run in whole.runs.values() if run.kind == "student"]
    for record in students:
        assert record is not None
        assert record["status"] == "failed"
        assert "ended by signal 9" in record["reason"]
        assert record["reason"].endswith("it was tried 2 times")
    assert len(list(taught.folder.glob("state/*.pt"))) > 0, "what the next time goes on from"
    assert api.execute(whole, taught, Machine(gpus=(), inline=True)) == []
    assert same(taught)


def test_a_worker_that_the_system_kills_for_memory_goes_on_in_parts(
    undisturbed: tuple[Plan, Results], taught: Results, same: Same, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its counter of such kills is raised by hand; the kill is real."""
    whole, _ = undisturbed
    counter = tmp_path / "vmstat"
    counter.write_text("nr_free_pages 7\noom_kill 0\n")
    monkeypatch.setattr("bench.execution.executors.local.KILLS", counter)

    class Starving(Saboteur):
        def epoch(self, run: str, entry: dict[str, Any]) -> None:
            counter.write_text("nr_free_pages 7\noom_kill 1\n")
            super().epoch(run, entry)

        def notice(self, text: str) -> None:
            super().notice(text)
            raise KeyboardInterrupt

    executor = Processes(["cpu"], taught.folder / "logs")
    observer = Starving(executor, signal.SIGKILL)
    runner = Runner(whole, estimate.forecast(whole), taught, executor, [observer])
    with pytest.raises(KeyboardInterrupt):
        runner.run(pending(whole, taught, "failed"))
    (notice,) = observer.notices
    assert notice.endswith("out of memory: the system ended the worker; they go on in two parts")
    assert api.execute(whole, taught, Machine(gpus=(), inline=True)) == []
    assert same(taught)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_ends_all_within_five_seconds_even_what_hangs(
    commands: Commands, tmp_path: Path, number: signal.Signals
) -> None:
    teachers = ("resnet8", "resnet14", "resnet20")
    pairs = ", ".join(f"{{teacher: {teacher}, student: resnet8}}" for teacher in teachers)
    recipe = "{epochs: 100000, batch_size: 16}"
    toy.write(tmp_path, recipe=recipe, teachers="{}", pairs=f"[{pairs}]")
    commands.start(*RUN[:-1], len(teachers))

    def all_train() -> bool:
        epochs = [event["id"] for event in commands.events if event["event"] == "epoch"]
        return len(set(epochs)) == len(teachers)

    assert commands.until(all_train), commands.said
    hanging = commands.workers
    assert len(hanging) == len(teachers)
    for worker in hanging:
        os.kill(worker, signal.SIGSTOP)
    begun, limit = time.monotonic(), granted(5.0)
    os.kill(commands.pid, number)
    os.kill(commands.pid, number)  # somebody is impatient
    code = commands.end(limit)
    assert gone(hanging, begun + limit - time.monotonic())
    assert "stopped; the same command goes on from here" in commands.said
    assert list((tmp_path / "results" / "state").glob("*.pt")), "what it goes on from"
    assert not list((tmp_path / "results").rglob("*.part"))
    assert code == 128 + number
