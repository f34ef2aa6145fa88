"""The executor for a Ray cluster, which runs each job as a Ray task.

All nodes must share the results folder and the folder of the data sets. A worker writes checkpoints
and weights into the results folder itself; only the parent process writes records. If a node is
lost, its cohort resumes on another node from the last checkpoints.
"""

import signal
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.execution.cluster import RayOptions
from bench.execution.executors import import_extra
from bench.execution.executors.local import stream_events
from bench.execution.protocol import Event, Job
from bench.results import Results

POLL_INTERVAL_S = 1.0  # longest wait before an interrupt, such as Ctrl-C, is handled
CONNECT_TIMEOUT_S = 10.0


def run_on_node(job: Job, timeout_s: float) -> Iterator[Event]:
    """Run a job on the node of this Ray task; yield the job's events."""
    if not Results(Path(job.results)).lock_file.exists():  # the parent holds this lock
        reason = (
            f"{job.results}: missing on the node {socket.gethostname()}. --executor ray needs a "
            "results folder that all nodes share"
        )
        yield {"event": "unwritable", "reason": reason}
        return
    yield from stream_events(job, timeout_s)


class RayExecutor:
    """Runs each job as a Ray task, on any node with enough free CPUs and GPUs.

    If a node is lost, its jobs end. The first `retries` losses of a run do not count as failed
    attempts. If a worker crashes or hangs, its job ends and counts as a failed attempt.

    Args:
        options: The `ray` section of the cluster file.
        results: The results folder, on a file system that all nodes share.
        timeout_s: Seconds without an event after which a worker is killed.

    Raises:
        BenchError: Ray is not installed, no cluster answers, or no node has room for a cohort.
    """

    def __init__(self, options: RayOptions, results: Results, timeout_s: float) -> None:
        self._retries, self._timeout_s = options.retries, timeout_s
        self._logs = results.folder / "logs"
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
        self._jobs: dict[int, tuple[Job, Any]] = {}  # job and Ray's stream of events, by slot
        self._lost_nodes: Counter[str] = Counter()  # number of lost nodes by run
        self._ready: deque[tuple[int, Event]] = deque()

    def start(self, slot: int, job: Job) -> None:
        """Submit a job as a task; Ray starts the task when a node has room for it."""
        self._jobs[slot] = job, self._submit(job.absolute(), self._timeout_s)

    def next(self) -> tuple[int, Event]:
        """Return the slot and the next event of any task."""
        while not self._ready:
            slots = {events: slot for slot, (_, events) in self._jobs.items()}
            ready, _ = self._ray.wait([*slots], num_returns=1, timeout=POLL_INTERVAL_S)
            for events in ready:
                self._receive(slots[events])
        return self._ready.popleft()

    def stop(self) -> None:
        """Kill all tasks; disconnect from the cluster if this executor connected to it."""
        for _, events in self._jobs.values():
            self._ray.cancel(events, force=True)
        if self._connected_here:
            self._ray.shutdown()

    def _receive(self, slot: int) -> None:
        """Take the next event of a task, and move the task behind the other tasks."""
        errors = self._ray.exceptions
        job, events = self._jobs.pop(slot)
        try:
            event = self._ray.get(next(events))
        except (errors.NodeDiedError, errors.WorkerCrashedError, errors.ObjectLostError) as error:
            self._lost_nodes.update(task.id for task in job.tasks)
            lost = self._lost_nodes[job.tasks[0].id] <= self._retries
            self._put(slot, "exit", f"its node was lost: {_first_line(error)}", lost=lost)
        except errors.OutOfMemoryError as error:
            self._put(slot, "split", f"out of memory on its node: {_first_line(error)}")
            self._put(slot, "exit", None)
        except errors.RayTaskError as error:
            log = self._save_traceback(job, str(error))
            self._put(slot, "exit", f"its task ended: {_first_line(error)} (see {log})")
        except (errors.RayError, StopIteration) as error:
            self._put(slot, "exit", f"its task ended: {_first_line(error)}")
        else:
            if event["event"] != "exit":
                self._jobs[slot] = job, events
            self._ready.append((slot, event))

    def _save_traceback(self, job: Job, text: str) -> Path:
        """Save the traceback of a task that raised an exception; return the path of the file.

        The log of the task's worker, `<logs>/<job id>.log`, does not have this traceback.
        """
        log = self._logs / f"{job.id}-task.log"
        self._logs.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        with log.open("x", encoding="utf-8") as file:  # the mode x refuses a symbolic link
            file.write(f"{text}\n")
        return log

    def _put(self, slot: int, event: str, reason: str | None, **fields: bool) -> None:
        self._ready.append((slot, {"event": event, "reason": reason, **fields}))


def room(nodes: Sequence[Mapping[str, float]], needs: Mapping[str, float]) -> int:
    """Return how many cohorts fit on the nodes at a time.

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
    """Connect to a running cluster.

    This function starts no cluster, because a new cluster would listen on every network address.
    """
    handler = signal.getsignal(signal.SIGTERM)  # Ray replaces the handler
    try:
        if address != "auto":  # without this test, Ray would retry for minutes
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
