"""A Ray cluster of several nodes on this machine, which share no results, no data, no cache."""

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
from bench.execution.cluster import Ray
from bench.execution.executors.ray import OnRay
from bench.execution.parcel import Sent
from bench.execution.protocol import Event
from bench.results import Results
from bench.results.files import sha256
from tests import toy
from tests.cluster import taught
from tests.faults.commands import Commands, gone, granted

pytest.importorskip("ray", reason="pip install 'distillbench[ray]'")


class Nodes:
    """A head without room, and a node that has room for one cohort."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.folder = folder
        self.node = self.added("first")

    def added(self, name: str) -> Any:
        """A node with a cache of its own."""
        env = {"XDG_CACHE_HOME": str(self.folder / name)}
        return self.cluster.add_node(num_cpus=1, env_vars=env)

    def replace(self) -> None:
        """The node dies, with all that runs on it; another one comes."""
        self.cluster.remove_node(self.node, allow_graceful=False)
        self.node = self.added("second")

    def kept(self, name: str) -> list[Path]:
        """The files that a node has kept."""
        return sorted(path for path in (self.folder / name).rglob("*") if path.is_file())


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Nodes(tmp_path)
    yield made
    made.cluster.shutdown()


def test_a_lost_node_costs_an_epoch_and_changes_no_number(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a node is sent each thing once, though it has done two jobs."""
    whole = toy.plan(
        tmp_path, recipe="{epochs: 60, batch_size: 16}", seeds="[0, 1]", methods="[kd]"
    )
    alone, results = toy.run(whole, tmp_path), Results(tmp_path / "ray")
    taught(whole, alone, results)
    seen: list[Event] = []
    hear = OnRay.next

    def meddling(self: OnRay) -> tuple[int, Event]:
        slot, event = hear(self)
        seen.append(event)
        if sum(event["event"] == "epoch" for event in seen) == 3 and not nodes.kept("second"):
            nodes.replace()
        return slot, event

    monkeypatch.setattr(OnRay, "next", meddling)
    api.execute(whole, results, Machine(cluster=Ray(address=nodes.cluster.address)))
    for run in whole.runs:
        assert toy.numbers(alone.record(run)) == toy.numbers(results.record(run))
        assert sha256(results.weights(run)) == (results.record(run) or {})["weights"]
    (notice,) = [event["text"] for event in seen if event["event"] == "notice"]
    assert "its node was lost" in notice
    assert [event["reason"] for event in seen if event["event"] == "exit"] == [None, None]
    assert [p.name for p in nodes.kept("first")] == [p.name for p in nodes.kept("second")]
    assert len(nodes.kept("second")) == 2  # the teacher's weights and the data set
    told = [(e["run"], e["entry"]["epoch"]) for e in seen if e["event"] == "epoch"]
    assert len(told) == len(set(told)), "an epoch that had come was done again"


def at_work(folder: Path) -> list[int]:
    """Workers on the nodes, which have a folder in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            if str(folder).encode() in told[0] and b"bench.execution.worker" in told[1]:
                found.append(int(process.name))
    return found


def test_sigterm_ends_the_workers_on_all_nodes(
    nodes: Nodes, commands: Commands, tmp_path: Path
) -> None:
    toy.write(tmp_path, recipe="{epochs: 2000, batch_size: 16, evaluate_every: 2000}")
    (tmp_path / "cluster.yaml").write_text(f"ray: {{address: '{nodes.cluster.address}'}}")
    run = ("run", "toy.yaml", "--tracker", "none", "--json", "--executor", "ray")
    commands.start(*run, "--cluster", "cluster.yaml")

    def trains() -> bool:
        said = [event["name"] for event in commands.events if event["event"] == "epoch"]
        return any("kd" in name for name in said)

    assert commands.until(trains), commands.said
    left = at_work(tmp_path)
    assert left, commands.said
    os.kill(commands.pid, signal.SIGTERM)
    assert commands.end() == 143, commands.said
    assert gone(left, granted(10))


def test_what_is_sent_is_fetched_once_and_again_when_damaged(tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(content: str) -> bytes:
        fetched.append(content)
        return content.encode()

    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of "x"
    sent = Sent(digest, "data", "x")
    assert sent.at(tmp_path, fetch).read_bytes() == b"x"
    assert sent.at(tmp_path, fetch).read_bytes() == b"x"
    assert fetched == ["x"]
    sent.at(tmp_path, fetch).write_bytes(b"y")
    assert sent.at(tmp_path, fetch).read_bytes() == b"x"
    assert fetched == ["x", "x"]
    with pytest.raises(BenchError, match=f"{digest} was sent"):
        Sent(digest, "other", "z").at(tmp_path, fetch)


def test_without_a_cluster_a_sentence_says_what_to_do(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(BenchError, match="no cluster at address '127.0.0.1:1'.*ray start --head"):
        Machine(cluster=Ray(address="127.0.0.1:1")).executor(Results(tmp_path / "r"), 0)
    assert signal.getsignal(signal.SIGTERM) is before
