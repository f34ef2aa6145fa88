"""Jobs as tasks of a Ray cluster; all nodes share the results folder and the data root.

A worker writes checkpoints and weights into the results folder itself; only the parent writes
records. If a node is lost, its cohort resumes on another node from the last checkpoints.
"""

import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.execution.cluster import RayOptions
from bench.execution.executors import import_extra
from bench.execution.executors.local import stream_events
from bench.execution.protocol import Event, Job
from bench.results import Results

POLL_INTERVAL_S = 1.0  # between two moments at which an interrupt is handled
CONNECT_TIMEOUT_S = 10.0


def run_on_node(job: Job, timeout_s: float) -> Iterator[Event]:
    """Run a job on this node; yield its events. The body of a Ray task."""
    if not Results(Path(job.results)).lock_file.exists():  # the parent holds the lock
        reason = (
            f"{job.results}: missing on the node {socket.gethostname()}. --executor ray needs a "
            "results folder that all nodes share"
        )
        yield {"event": "unwritable", "reason": reason}
        return
    yield from stream_events(job, timeout_s)


@dataclass
class RayTask:
    """A job that was submitted."""

    job: Job
    events: Any  # Ray's stream of the task's events
    lost_nodes: int = 0  # nodes that were lost while they ran it
    recorded: set[str] = field(default_factory=set)  # runs with a record


class RayExecutor:
    """A Ray task for each job, on any node with room for it.

    If a node is lost, its jobs are submitted again, at most `retries` times. A worker that crashes
    or hangs ends its job, as on one machine.

    Args:
        options: The `ray` section of the cluster file.
        results: The results folder, on a file system that all nodes share.
        timeout_s: Seconds without an event after which a worker is killed.

    Raises:
        BenchError: Ray is not installed, no cluster answers, or no node has room for a cohort.
    """

    def __init__(self, options: RayOptions, results: Results, timeout_s: float) -> None:
        self._retries, self._timeout_s = options.retries, timeout_s
        self._ray = import_extra("ray", "ray")
        self._connected_here = not self._ray.is_initialized()
        _connect(self._ray, options.address)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = options.gpus
        if gpus is None:
            gpus = float(any(node.get("GPU") for node in nodes))
        slots = options.slots or room(nodes, {"CPU": options.cpus, "GPU": gpus})
        self.devices: Sequence[str] = ["cuda" if gpus else "cpu"] * slots
        self._submit = self._ray.remote(
            num_cpus=options.cpus, num_gpus=gpus, max_retries=0, num_returns="streaming"
        )(run_on_node).remote
        self._tasks: dict[int, RayTask] = {}
        self._ready: deque[tuple[int, Event]] = deque()

    def start(self, slot: int, job: Job) -> None:
        """Submit a task; Ray starts it when a node has room."""
        job = job.absolute()
        self._tasks[slot] = RayTask(job, self._submit(job, self._timeout_s))

    def next(self) -> tuple[int, Event]:
        """Return the next event of any task."""
        while not self._ready:
            slots = {task.events: slot for slot, task in self._tasks.items()}
            ready, _ = self._ray.wait([*slots], num_returns=1, timeout=POLL_INTERVAL_S)
            for events in ready:
                self._receive(slots[events])
        return self._ready.popleft()

    def stop(self) -> None:
        """Kill all tasks; leave the cluster."""
        for task in self._tasks.values():
            self._ray.cancel(task.events, force=True)
        self._tasks.clear()
        if self._connected_here:
            self._ray.shutdown()

    def _receive(self, slot: int) -> None:
        """Take the next event of a task, which moves behind the other tasks."""
        errors = self._ray.exceptions
        task = self._tasks.pop(slot)
        try:
            event = self._ray.get(next(task.events))
        except (errors.NodeDiedError, errors.WorkerCrashedError, errors.ObjectLostError) as error:
            self._resubmit(slot, task, _first_line(error))
        except errors.OutOfMemoryError as error:
            self._put(slot, "split", f"out of memory on its node: {_first_line(error)}")
            self._put(slot, "exit", None)
        except (errors.RayError, StopIteration) as error:
            self._put(slot, "exit", f"its task ended: {_first_line(error)}")
        else:
            if event["event"] == "record":
                task.recorded.add(event["record"]["id"])
            if event["event"] != "exit":
                self._tasks[slot] = task
            self._ready.append((slot, event))

    def _put(self, slot: int, event: str, reason: str | None) -> None:
        self._ready.append((slot, {"event": event, "reason": reason}))

    def _resubmit(self, slot: int, task: RayTask, reason: str) -> None:
        """Submit the job of a lost node again, or end it after too many lost nodes."""
        job = task.job.without(task.recorded)
        if not job.tasks or task.lost_nodes >= self._retries:
            self._put(slot, "exit", f"its node was lost: {reason}")
            return
        text = f"{job.tasks[0].name}: its node was lost; it resumes from its checkpoint elsewhere"
        self._ready.append((slot, {"event": "notice", "text": text}))
        events = self._submit(job, self._timeout_s)
        self._tasks[slot] = RayTask(job, events, task.lost_nodes + 1)


def room(nodes: Sequence[Mapping[str, float]], needs: Mapping[str, float]) -> int:
    """Return how many cohorts fit on all nodes together.

    Args:
        nodes: The resources of each node, such as `{"CPU": 8.0, "GPU": 1.0}`.
        needs: The resources that a cohort needs.

    Raises:
        BenchError: No node has room for a cohort.
    """
    needs = {kind: amount for kind, amount in needs.items() if amount}
    count = sum(
        min(int(node.get(kind, 0.0) / amount) for kind, amount in needs.items()) for node in nodes
    )
    if not count:
        missing = " and ".join(f"{amount:g} {kind}" for kind, amount in needs.items())
        available = "; ".join(
            ", ".join(f"{node.get(kind, 0):g} {kind}" for kind in needs) for node in nodes
        )
        raise BenchError(f"--executor ray: no node has {missing} for a cohort. Found: {available}")
    return count


def _connect(ray: Any, address: str) -> None:
    """Join a cluster; do not start one, which would listen on every address."""
    handler = signal.getsignal(signal.SIGTERM)  # Ray replaces it
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
        ray.init(
            address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR"
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise BenchError(
            f"--executor ray: no cluster at address '{address}': {_first_line(error)}. Start one "
            "on this machine with `ray start --head`"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or of its cause on a node."""
    cause = getattr(error, "cause", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
