"""kill -9 of the command or of a worker at any time: no finished run is lost or changed."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.api import Machine
from bench.callbacks import mlflow
from bench.execution.executors.local import HEARTBEAT_TIMEOUT_S, ProcessExecutor
from bench.execution.runner import Runner, pending
from bench.planning import estimate
from bench.planning.cohorts import Cohort
from bench.planning.plan import Plan
from bench.report import build
from bench.results import Record, Results
from tests import soak, toy
from tests.command import gone, workers
from tests.faults.commands import Commands, scaled
from tests.faults.conftest import LINES

pytestmark = pytest.mark.slow

RUN = ("run", "toy.yaml", "--tracker", "none", "--json", "--workers", 1)
INLINE = Machine(gpus=(), inline=True)
Same = Callable[[Results], bool]


def finished(results: Results) -> dict[str, bytes]:
    """Return the content of the records of runs that are done."""
    done = (record.id for record in results.records() if record.status == "done")
    return {run: results.file(run).read_bytes() for run in done}


def wait_at_random(commands: Commands, rng: random.Random) -> None:
    """Wait for any time of a command's start, or shortly after one of its events."""
    events = rng.randint(0, 5)
    commands.wait_for(lambda: len(commands.events) >= events, 60)
    time.sleep(rng.uniform(0, 0.2 if events else 4.0))


def run_with_kills(commands: Commands, results: Results, kills: int, *run: object) -> int:
    """Repeat a command until it succeeds, and kill it or one of its workers so many times.

    If it succeeds before the last kill, its records are deleted; returns the number of rounds.
    """
    rng, rounds = random.Random(0), 1
    commands.start(*run)
    while kills:
        before = finished(results)
        wait_at_random(commands, rng)
        victims = [commands.pid] if kills % 2 else commands.workers
        if commands.code is None and victims:
            os.kill(rng.choice(victims), signal.SIGKILL)
            kills -= 1
        if victims == [commands.pid] or commands.code is not None:
            assert commands.end() in (0, 3, -signal.SIGKILL), commands.output
            if commands.code == 0:
                rounds, before = rounds + 1, {}
                for record in list(results.records()):
                    results.delete_run(record.id)
            commands.start(*run)
        assert before.items() <= finished(results).items()
    if commands.end() == 3:  # the workers of a cohort were killed twice
        commands.start(*run)
    assert commands.end() == 0, commands.output
    return rounds


@pytest.mark.soak
def test_kills_at_random_times_change_no_number(
    commands: Commands, undisturbed: tuple[Plan, Results], same: Same, tmp_path: Path
) -> None:
    plan, done = undisturbed
    toy.write(tmp_path, **LINES)
    results = Results(tmp_path / "results")
    kills = soak.times(4, 50)
    rounds = run_with_kills(commands, results, kills, *RUN)
    print(f"{kills} kills in {rounds} rounds")
    assert same(results)
    tables, expected = build.write(plan, results), build.write(plan, done)
    assert [path.read_bytes() for path in tables] == [path.read_bytes() for path in expected]


@pytest.mark.soak
@pytest.mark.skipif(not soak.LONG, reason="takes half an hour")
def test_kills_of_the_quickstart_change_no_number(commands: Commands, tmp_path: Path) -> None:
    """MLflow's store is killed as well, and holds each run once."""
    done, results = Results(tmp_path / "undisturbed"), Results(tmp_path / "results")
    run = ("run", "quickstart", "--json")
    commands.start(*run, "--tracker", "none", "--results", done.folder)
    assert commands.end(3600.0) == 0
    rounds = run_with_kills(commands, results, 50, *run)
    print(f"50 kills in {rounds} rounds")
    plan = api.load_plan("quickstart")
    for run_id in plan.runs:
        assert toy.numbers(results.record(run_id)) == toy.numbers(done.record(run_id))
    tables = (results.folder / "quickstart.md", done.folder / "quickstart.md")
    assert len({path.read_bytes() for path in tables}) == 1
    assert api.sync(plan, results).warnings == []
    client = mlflow.client(mlflow.tracking_uri(results))
    runs = client.search_runs([client.get_experiment_by_name("quickstart").experiment_id])
    assert sorted(run.data.tags["bench.run_id"] for run in runs) == sorted(plan.runs)


class Saboteur:
    """An observer that sends a signal to the worker at the first epoch of each attempt."""

    def __init__(self, executor: ProcessExecutor, *signals: signal.Signals) -> None:
        self.executor, self.signals = executor, list(signals)
        self.notices: list[str] = []
        self.epochs: list[tuple[str, int]] = []
        self.is_first = False
        self.signalled = self.recorded = 0.0

    def started(self, cohort: Cohort, device: str) -> None:
        self.is_first = True

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        self.epochs.append((run, entry["epoch"]))
        if self.is_first and self.signals:
            self.is_first, number = False, self.signals.pop(0)
            if number == signal.SIGSTOP:
                self.executor.timeout_s = 0.5
            (worker,) = workers(os.getpid())
            self.signalled = time.monotonic()
            os.kill(worker, number)

    def notice(self, text: str) -> None:
        self.notices.append(text)
        self.executor.timeout_s = HEARTBEAT_TIMEOUT_S

    def record(self, record: Record) -> None:
        self.recorded = time.monotonic()

    def closed(self) -> None:
        pass


def test_runs_whose_worker_hangs_and_is_then_killed_fail_and_can_be_resumed(
    undisturbed: tuple[Plan, Results], with_teacher: Results, same: Same
) -> None:
    plan, _ = undisturbed
    executor = ProcessExecutor(["cpu"], with_teacher.folder / "logs")
    saboteur = Saboteur(executor, signal.SIGSTOP, signal.SIGKILL)
    runner = Runner(plan, estimate.estimate(plan), with_teacher, executor, [saboteur])
    runner.run(pending(plan, with_teacher, "failed"))
    (notice,) = saboteur.notices
    assert notice.startswith("resnet8/resnet8 student seed 0 and 2 more: its worker sent no event")
    assert notice.endswith("the next attempt resumes from the last checkpoint")
    assert saboteur.recorded - saboteur.signalled < scaled(2.0)
    assert len(set(saboteur.epochs)) == len(saboteur.epochs) >= 2, "an epoch was repeated"
    records = [with_teacher.record(run.id) for run in plan.runs.values() if run.kind == "student"]
    for record in records:
        assert record is not None
        assert record.status == "failed"
        assert "was killed by signal 9" in str(record.reason)
        assert str(record.reason).endswith("2 attempts failed")
    assert list(with_teacher.folder.glob("state/*.safetensors"))
    assert api.execute(plan, with_teacher, INLINE) == []
    assert same(with_teacher)


def test_cohort_whose_worker_the_system_kills_for_memory_is_split(
    undisturbed: tuple[Plan, Results], with_teacher: Results, same: Same, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The test writes the system's counter of such kills; the kill is real."""
    plan, _ = undisturbed
    counter = tmp_path / "vmstat"
    counter.write_text("nr_free_pages 7\noom_kill 0\n")
    monkeypatch.setattr("bench.execution.executors.local.OOM_KILL_COUNTER", counter)

    class OutOfMemory(Saboteur):
        def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
            counter.write_text("nr_free_pages 7\noom_kill 1\n")
            super().epoch(run, entry)

        def notice(self, text: str) -> None:
            super().notice(text)
            raise KeyboardInterrupt

    executor = ProcessExecutor(["cpu"], with_teacher.folder / "logs")
    observer = OutOfMemory(executor, signal.SIGKILL)
    runner = Runner(plan, estimate.estimate(plan), with_teacher, executor, [observer])
    with pytest.raises(KeyboardInterrupt):
        runner.run(pending(plan, with_teacher, "failed"))
    (notice,) = observer.notices
    assert notice.endswith(
        "out of memory: the system killed the worker; the runs resume as two cohorts"
    )
    assert api.execute(plan, with_teacher, INLINE) == []
    assert same(with_teacher)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_command_and_hung_workers_within_five_seconds(
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

    assert commands.wait_for(all_train), commands.output
    hung = commands.workers
    assert len(hung) == len(teachers)
    for worker in hung:
        os.kill(worker, signal.SIGSTOP)
    start, limit_s = time.monotonic(), scaled(5.0)
    os.kill(commands.pid, number)
    os.kill(commands.pid, number)  # an impatient user
    code = commands.end(limit_s)
    assert gone(hung, start + limit_s - time.monotonic())
    assert "the same command" in commands.output
    assert list((tmp_path / "results" / "state").glob("*.safetensors"))
    assert not list((tmp_path / "results").rglob("*.part"))
    assert code == 128 + number
