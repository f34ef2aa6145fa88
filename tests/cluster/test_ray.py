"""A Ray cluster of several nodes on this machine, which share the results folder."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.api import Machine
from bench.errors import BenchError
from bench.execution.cluster import RayOptions
from bench.execution.executors.ray import RayExecutor, run_on_node
from bench.execution.protocol import Event, Job
from bench.results import Results, sha256
from tests import toy
from tests.cluster import copy_teachers
from tests.command import gone
from tests.faults.commands import Commands, scaled

pytestmark = pytest.mark.slow


class Nodes:
    """A head without room, and a node with room for one cohort."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.folder = folder
        self.replaced = False
        self.node = self._add()

    def _add(self) -> Any:
        env = {"BENCH_TEST_NODE": str(self.folder)}  # marks the node's processes
        return self.cluster.add_node(num_cpus=1, env_vars=env)

    def replace(self) -> None:
        """Kill the node with its processes; add another one."""
        self.cluster.remove_node(self.node, allow_graceful=False)
        self.node, self.replaced = self._add(), True

    def workers(self) -> list[int]:
        """Return the process ids of workers on the nodes."""
        pids = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes()
                if str(self.folder).encode() in environment and b"execution.worker" in command:
                    pids.append(int(process.name))
        return pids


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="pip install 'distillbench[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.cluster.shutdown()


def test_lost_node_costs_an_epoch_and_changes_no_number(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plan = toy.plan(tmp_path, recipe="{epochs: 60, batch_size: 16}", seeds="[0, 1]", methods="[kd]")
    inline, results = toy.run(plan, tmp_path), Results(tmp_path / "ray")
    copy_teachers(plan, inline, results)
    events: list[Event] = []
    next_event = RayExecutor.next

    def disturbed(self: RayExecutor) -> tuple[int, Event]:
        slot, event = next_event(self)
        events.append(event)
        if sum(event["event"] == "epoch" for event in events) == 3 and not nodes.replaced:
            nodes.replace()
        return slot, event

    monkeypatch.setattr(RayExecutor, "next", disturbed)
    machine = Machine(cluster=RayOptions(address=nodes.cluster.address))
    api.execute(plan, results, machine, view="plain")
    for run in plan.runs:
        record = results.record(run)
        assert record is not None
        assert toy.numbers(inline.record(run)) == toy.numbers(record)
        assert sha256(results.weights(run)) == record.weights
    (notice,) = [line for line in capsys.readouterr().out.splitlines() if "notice" in line]
    assert "its node was lost: " in notice
    assert notice.endswith("; the next attempt resumes from the last checkpoint")
    exits = [event for event in events if event["event"] == "exit"]
    assert [event["reason"] for event in exits if not event.get("lost")] == [None, None]
    assert len(exits) == 3
    epochs = [(event["run"], event["entry"]["epoch"]) for event in events if "entry" in event]
    assert len(epochs) == len(set(epochs)), "an epoch was repeated"
    assert not list(results.folder.glob("state/*.safetensors"))


def test_sigterm_ends_the_workers_on_all_nodes(
    nodes: Nodes, commands: Commands, tmp_path: Path
) -> None:
    toy.write(tmp_path, recipe="{epochs: 2000, batch_size: 16, evaluate_every: 2000}")
    (tmp_path / "cluster.yaml").write_text(f"ray: {{address: '{nodes.cluster.address}'}}")
    run = ("run", "toy.yaml", "--tracker", "none", "--json", "--executor", "ray")
    commands.start(*run, "--cluster", "cluster.yaml")

    def trains() -> bool:
        names = [event["name"] for event in commands.events if event["event"] == "epoch"]
        return any("kd" in name for name in names)

    assert commands.wait_for(trains), commands.output
    pids = nodes.workers()
    assert pids, commands.output
    os.kill(commands.pid, signal.SIGTERM)
    assert commands.end() == 143, commands.output
    assert gone(pids, scaled(10))


def test_task_that_raises_an_exception_ends_its_job_and_leaves_its_traceback(
    nodes: Nodes, tmp_path: Path
) -> None:
    results = Results(tmp_path / "r")
    teacher: Any = object()  # which is not JSON
    job = Job("j", (), teacher, "cpu", 1, str(results.folder), "digits", None)
    with results.lock():
        executor = RayExecutor(RayOptions(address=nodes.cluster.address), results, 600.0)
        executor.start(0, job)
        slot, event = executor.next()
        executor.stop()
    log = results.folder / "logs/j-task.log"
    assert (slot, event["event"]) == (0, "exit")
    assert event["reason"].startswith("its task ended: ")
    assert event["reason"].endswith(f" (see {log})")
    assert "in to_json" in log.read_text()


def test_node_that_does_not_share_the_results_folder_is_refused(tmp_path: Path) -> None:
    job = Job("j", (), None, "cpu", 1, str(tmp_path / "results"), "digits", None)
    (event,) = run_on_node(job, 600.0)
    assert event["event"] == "unwritable"
    assert "results: missing on the node" in event["reason"]
    assert not (tmp_path / "results").exists()


def test_missing_cluster_is_reported_with_the_command_that_starts_one(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'distillbench[ray]'")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(BenchError, match="no cluster at address '127.0.0.1:1'.*ray start --head"):
        Machine(cluster=RayOptions(address="127.0.0.1:1")).executor(Results(tmp_path / "r"), 0)
    assert signal.getsignal(signal.SIGTERM) is before
