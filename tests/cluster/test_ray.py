"""A Ray cluster of several nodes on this machine, which share no results, no data, no cache."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import session
from bench.errors import BenchError
from bench.job import Event
from bench.results import Results
from bench.running.cluster import Ray
from bench.session import Machine
from tests import toy

pytest.importorskip("ray", reason="pip install 'distillbench[ray]'")


class Nodes:
    """A head without room, and nodes with room for one cohort each."""

    def __init__(self, folder: Path, count: int) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.caches = [folder / f"node{i}" for i in range(count)]
        self.nodes = [
            self.cluster.add_node(num_cpus=1, env_vars={"XDG_CACHE_HOME": str(cache)})
            for cache in self.caches
        ]
        self.cluster.wait_for_nodes()

    def kept(self, i: int) -> list[Path]:
        """The files that a node keeps by their sums."""
        return sorted(path for path in self.caches[i].rglob("*") if path.is_file())


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Nodes(tmp_path, 2)
    yield made
    made.cluster.shutdown()


def test_a_lost_node_changes_no_number(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cohorts on two nodes, one of which dies in mid-cohort; the other one does the rest."""
    from bench.running.on_ray import OnRay

    recipe = "{epochs: 8, batch_size: 16, crop: 1, flip: false}"
    whole = toy.plan(tmp_path, recipe=recipe, seeds="[0, 1]", methods="[kd]")
    alone, results = toy.run(whole, tmp_path), Results(tmp_path / "ray")
    seen: list[Event] = []
    hear = OnRay.next

    def meddling(self: OnRay) -> tuple[int, Event]:
        slot, event = hear(self)
        seen.append(event)
        if event["event"] == "epoch" and event["entry"]["epoch"] == 3 and len(nodes.nodes) == 2:
            both = [nodes.kept(0), nodes.kept(1)]
            assert [path.name for path in both[0]] == [path.name for path in both[1]]
            nodes.cluster.remove_node(nodes.nodes.pop(), allow_graceful=False)
        return slot, event

    monkeypatch.setattr(OnRay, "next", meddling)
    options = Ray(address=nodes.cluster.address)
    session.carry_out(whole, results, Machine(cluster=options))
    for run in whole.runs:
        assert toy.numbers(alone.record(run)) == toy.numbers(results.record(run))
    assert [e["text"] for e in seen if e["event"] == "notice"] == []
    assert [e["reason"] for e in seen if e["event"] == "exit"] == [None, None, None]


def test_without_a_cluster_a_sentence_says_what_to_do(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(BenchError, match="no cluster at address '127.0.0.1:1'.*ray start --head"):
        Machine(cluster=Ray(address="127.0.0.1:1")).executor(Results(tmp_path / "r"), 0)
    assert signal.getsignal(signal.SIGTERM) is before
