"""Cohorts as tasks of a Ray cluster, whose nodes need share no files with the parent.

The parent alone keeps what comes back, records, states and weights; so what a lost node was at
work on goes on elsewhere, from the last epoch that came.
"""

import hashlib
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import data
from bench.data import Selection
from bench.errors import BenchError
from bench.execution.cluster import Ray
from bench.execution.executors.node import installed, without
from bench.execution.parcel import Parcel, Said, Sent, done
from bench.execution.protocol import Event, Job
from bench.plugins import Registry
from bench.results import Results
from bench.results.files import write_whole

TICK = 1.0  # seconds in which an interrupt is heard
ANSWER = 10.0  # seconds in which the head of a cluster must answer


def serve(parcel: Parcel) -> Iterator[Said]:
    """The task: what a worker on its node says."""
    yield from done(parcel, installed("ray", "ray").get)


@dataclass
class Underway:
    """A job under way."""

    job: Job
    stream: Any  # of what its task says
    lost: int = 0  # nodes that it was on
    ended: set[str] = field(default_factory=set)  # runs whose records have come


class OnRay:
    """A task for each job, on whatever node has room for it.

    A worker that crashes or hangs ends its job, as it does on this machine. A job whose node is
    lost is given to another one, `retries` times.
    """

    def __init__(self, options: Ray, results: Results, patience: float) -> None:
        self._options, self._results, self._patience = options, results, patience
        with _signals_kept():
            self._ray = installed("ray", "ray")
            self._ours = not self._ray.is_initialized()
            _connect(self._ray, options.address)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = options.gpus
        if gpus is None:
            gpus = float(any(node.get("GPU") for node in nodes))
        slots = options.slots or _room(nodes, {"CPU": options.cpus, "GPU": gpus})
        self.devices: Sequence[str] = ["cuda" if gpus else "cpu"] * slots
        self._serve = self._ray.remote(
            num_cpus=options.cpus, num_gpus=gpus, max_retries=0, num_returns="streaming"
        )(serve)
        self._running: dict[int, Underway] = {}
        self._ready: deque[tuple[int, Event]] = deque()
        self._sent: dict[str, Sent] = {}  # by sum
        self._datasets: dict[Selection, Sent] = {}

    def start(self, slot: int, job: Job) -> None:
        """Ask for a task; Ray starts it when a node has room."""
        self._running[slot] = Underway(job, self._stream(job))

    def next(self) -> tuple[int, Event]:
        """The next event of any task, once what came with it is kept."""
        while not self._ready:
            streams = {under.stream: slot for slot, under in self._running.items()}
            found, _ = self._ray.wait([*streams], num_returns=1, timeout=TICK)
            for stream in found:
                slot = streams[stream]
                self._hear(slot, self._running.pop(slot))
        return self._ready.popleft()

    def stop(self) -> None:
        """End all tasks now, and leave the cluster."""
        for under in self._running.values():
            self._ray.cancel(under.stream, force=True)
        self._running.clear()
        if self._ours:
            self._ray.shutdown()

    def _hear(self, slot: int, under: Underway) -> None:
        """Take the next word of a task; unless it was the last, it goes behind the others."""
        kinds = self._ray.exceptions
        try:
            event, files = self._ray.get(next(under.stream))
        except (kinds.NodeDiedError, kinds.WorkerCrashedError, kinds.ObjectLostError) as error:
            self._lose(slot, under, _said(error))
        except kinds.OutOfMemoryError as error:
            self._say(slot, event="split", reason=f"out of memory on its node: {_said(error)}")
            self._say(slot, event="exit", reason=None)
        except (kinds.RayError, StopIteration) as error:
            self._say(slot, event="exit", reason=f"its task ended: {_said(error)}")
        else:
            self._keep(under.job, event, files)
            if event["event"] == "record":
                under.ended.add(event["record"]["id"])
            if event["event"] != "exit":
                self._running[slot] = under
            self._ready.append((slot, event))

    def _say(self, slot: int, **event: Any) -> None:
        self._ready.append((slot, event))

    def _lose(self, slot: int, under: Underway, why: str) -> None:
        """Give a job whose node is lost to another one, or give it up."""
        left = without(under.job, under.ended)
        if not left.tasks or under.lost >= self._options.retries:
            self._say(slot, event="exit", reason=f"its node was lost: {why}")
            return
        first = left.tasks[0].name
        text = f"{first}: its node was lost; elsewhere it goes on from the last epoch that came"
        self._say(slot, event="notice", text=text)
        self._running[slot] = Underway(left, self._stream(left), under.lost + 1)

    def _keep(self, job: Job, event: Event, files: Mapping[str, bytes]) -> None:
        """Write what came with an event to where a worker of this machine would have written."""
        if "state" in files:
            self._results.keep_state(event["run"], files["state"])
        if "weights" in files:
            self._results.keep_weights(event["record"]["id"], files["weights"])
        if "log" in files:
            write_whole(self._results.folder / "logs" / f"{job.id}.log", files["log"])

    def _stream(self, job: Job) -> Any:
        """What the task of a job says, from when Ray has started it."""
        of, states = job.tasks[0], [(task.id, self._results.state(task.id)) for task in job.tasks]
        parcel = Parcel(
            job=replace(job, data_root=self._options.data),
            states={run: path.read_bytes() for run, path in states if path.exists()},
            teacher=self._file(self._results.weights(job.teacher["id"])) if job.teacher else None,
            dataset=None if self._options.data else self._dataset(job),
            plugins=tuple(self._file(Path(path)) for path in job.plugins),
            checkpoint=self._file(Path(of.checkpoint["path"])) if of.checkpoint else None,
            patience=self._patience,
            cache=self._options.cache,
        )
        return self._serve.remote(parcel)

    def _dataset(self, job: Job) -> Sent:
        selection = Selection(job.dataset, size=job.tasks[0].specification["data"]["size"])
        if selection not in self._datasets:
            root = Path(job.data_root) if job.data_root else None
            registry = Registry.of(map(Path, job.plugins), enabled=job.plugins_enabled)
            self._datasets[selection] = self._put(
                "data", data.pack(selection, root, registry.datasets)
            )
        return self._datasets[selection]

    def _file(self, path: Path) -> Sent:
        return self._put(path.name, path.read_bytes())

    def _put(self, name: str, content: bytes) -> Sent:
        """The content in Ray's object store, where the same one is put once."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._sent:
            self._sent[digest] = Sent(digest, name, self._ray.put(content))
        return self._sent[digest]


def _connect(ray: Any, address: str) -> None:
    """Join a cluster; none is started, since that would listen on every address."""
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
        ray.init(
            address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR"
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise BenchError(
            f"--executor ray: no cluster at address '{address}': {_said(error)}. `ray start "
            "--head` makes this machine the head of one"
        ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it connects; afterwards it is again whose it was."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _room(nodes: Sequence[Mapping[str, float]], needs: Mapping[str, float]) -> int:
    """How many cohorts with these needs all nodes take together; BenchError where none does."""
    asked = {kind: amount for kind, amount in needs.items() if amount}
    room = sum(
        min(int(node.get(kind, 0.0) / amount) for kind, amount in asked.items()) for node in nodes
    )
    if not room:
        wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in asked.items())
        found = "; ".join(
            ", ".join(f"{node.get(kind, 0):g} {kind}" for kind in asked) for node in nodes
        )
        raise BenchError(f"--executor ray: no node has {wanted} for a cohort. Found: {found}")
    return room


def _said(error: BaseException) -> str:
    """The first line of what went wrong, on a node or in Ray."""
    cause = getattr(error, "cause", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
