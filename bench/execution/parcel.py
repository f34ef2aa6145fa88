"""A job on its way to a node that shares no files with the parent, and its doing there.

What many jobs need, the data set, a teacher's weights, plugins, a node keeps by SHA-256: it is
fetched once a node. With the events go back the state of each run after each epoch, its weights
at the end, and the log of a worker that crashed.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.data.packed import PREFIX
from bench.errors import BenchError
from bench.execution.executors.node import worked
from bench.execution.protocol import Event, Job
from bench.execution.scratch import scratch
from bench.results import Results
from bench.results.files import sha256, write_whole

Fetch = Callable[[Any], bytes]
Said = tuple[Event, Mapping[str, bytes]]  # an event, and by kind the files that go with it


@dataclass(frozen=True)
class Sent:
    """A file that a node keeps by its sum, and fetches where it has not got it."""

    sha256: str
    name: str
    content: Any  # what `fetch` makes bytes of

    def at(self, cache: Path, fetch: Fetch) -> Path:
        """Where the file is on this node, whole and as it was sent."""
        path = cache / self.sha256 / self.name
        if not path.exists() or sha256(path) != self.sha256:
            write_whole(path, fetch(self.content))
            if (found := sha256(path)) != self.sha256:
                raise BenchError(f"{path}: its sha256 is {found}; {self.sha256} was sent")
        return path


@dataclass(frozen=True)
class Parcel:
    """A job, and all that a node needs for it."""

    job: Job
    states: Mapping[str, bytes]  # by run: the files of those that go on
    teacher: Sent | None
    dataset: Sent | None  # None: it lies under the job's data root there
    plugins: tuple[Sent, ...]
    checkpoint: Sent | None
    patience: float
    cache: str | None


def done(parcel: Parcel, fetch: Fetch) -> Iterator[Said]:
    """What the job's worker on this node says; `exit` is the last."""
    with scratch() as folder:
        results = Results(folder)
        job = _unpacked(parcel, results, fetch)
        unwritable = None
        for event in worked(job, parcel.patience):
            if event["event"] == "unwritable":  # here: another node may have room
                unwritable = event["reason"]
                continue
            if event["event"] == "exit" and unwritable:
                event = {**event, "reason": unwritable}
            yield event, dict(_beside(event, results))


def _unpacked(parcel: Parcel, results: Results, fetch: Fetch) -> Job:
    """The job with this node's paths, once the files it needs are there."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    cache = Path(parcel.cache or f"{home}/distillbench").expanduser()
    job = replace(
        parcel.job,
        results=str(results.folder),
        plugins=tuple(str(sent.at(cache, fetch)) for sent in parcel.plugins),
    )
    if parcel.dataset:
        job = replace(job, dataset=f"{PREFIX}{parcel.dataset.at(cache, fetch)}")
    if parcel.checkpoint:
        (task,) = job.tasks
        manifest = {**(task.checkpoint or {}), "path": str(parcel.checkpoint.at(cache, fetch))}
        job = replace(job, tasks=(replace(task, checkpoint=manifest),))
    if parcel.teacher and job.teacher:
        link = results.weights(job.teacher["id"])
        link.parent.mkdir()
        link.symlink_to(parcel.teacher.at(cache, fetch))
    for run, state in parcel.states.items():
        write_whole(results.state(run), state)
    return job


def _beside(event: Event, results: Results) -> Iterator[tuple[str, bytes]]:
    """The files that go with an event."""
    match event:
        case {"event": "epoch", "run": run}:
            if (state := results.read_state(run)) is not None:
                yield "state", state
        case {"event": "record", "record": {"id": run, "status": "done"}}:
            yield "weights", results.weights(run).read_bytes()
        case {"event": "exit", "reason": str()}:
            for log in (results.folder / "logs").glob("*.log"):
                yield "log", log.read_bytes()
