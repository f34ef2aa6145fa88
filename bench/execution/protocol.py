"""Messages between the runner and its workers: jobs one way, events the other; JSON lines."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.results.record import Record, Status, TeacherInfo
from bench.spec import RunSpec
from bench.suite import Checkpoint

Event = Mapping[str, Any]  # see `Job`
Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Task:
    """One run of a job.

    Attributes:
        id: Id of the run.
        name: Name of the run in messages.
        specification: Specification of the run.
        checkpoint: File to import as a teacher's weights; None: the network is trained.
    """

    id: str
    name: str
    specification: RunSpec
    checkpoint: Checkpoint | None = None

    def record(self, status: Status, reason: str | None, **fields: Any) -> Record:
        """Return the task's record.

        Args:
            status: Outcome of the run.
            reason: Why the run is not done, else None.
            **fields: Fields of `Record`, as JSON data; others are empty.
        """
        spec = self.specification
        content = {
            "id": self.id,
            "kind": spec.role,
            "status": status,
            "reason": reason,
            "name": self.name,
            "specification": spec,
            "seed": spec.seed,
            "network": {"name": spec.network, **fields.pop("network", {})},
            **dict.fromkeys(("teacher", "weights", "started", "finished")),
            "metrics": {},
            "curves": [],
            "environment": {},
            "seconds": 0.0,
            **fields,
        }
        return Record.model_validate(content)


@dataclass(frozen=True)
class Job:
    """A cohort to train in lockstep on one device.

    A worker answers with events, mappings with the key `event`:

    - `epoch`: `run` completed an epoch; `entry` is its entry in the curves.
    - `record`: a run ended; `record` is its content.
    - `notice`: `text` for the user.
    - `heartbeat`: a batch was processed; at most one a second.
    - `split`: the cohort does not fit into memory or cannot be captured, for this `reason`.
    - `unwritable`: the results folder cannot be written to, for this `reason`.
    - `exit`: the last event, from the executor; `reason` is None after a success. `lost` is true if
      the machine was lost, which does not count as an attempt at the runs.

    Attributes:
        id: Id of the cohort.
        tasks: The runs.
        teacher: The trained teacher of all runs; None: they are teachers.
        device: Device, such as `cuda:0`.
        threads: Threads of torch on a CPU.
        results: Path of the results folder.
        dataset: Name of the data set; for a folder of images `folder:PATH`.
        data_root: Folder of the data sets; None: `BENCH_DATA`, or `data`.
        plugins: Paths of the suite's plugins.
        plugins_enabled: Whether plugins, also of installed packages, may be loaded.
        graphs: Whether to capture steps as CUDA graphs.
    """

    id: str
    tasks: tuple[Task, ...]
    teacher: TeacherInfo | None
    device: str
    threads: int
    results: str
    dataset: str
    data_root: str | None
    plugins: tuple[str, ...] = ()
    plugins_enabled: bool = True
    graphs: bool = False

    def without(self, runs: Collection[str]) -> "Job":
        """Return the job without the tasks of these runs."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.id not in runs))

    def absolute(self) -> "Job":
        """Return the job with absolute paths, for a worker on another machine."""
        root = Path(self.data_root or "data").resolve()
        return replace(self, results=str(Path(self.results).resolve()), data_root=str(root))

    def to_json(self) -> str:
        """Return the job as one line of JSON."""
        # Not pydantic's own JSON, which refuses paths that are not UTF-8.
        return json.dumps(_JOB.dump_python(self, mode="json", exclude_unset=True))

    @staticmethod
    def from_json(text: str) -> "Job":
        """Parse a line of `to_json`."""
        return _JOB.validate_python(json.loads(text))


_JOB = TypeAdapter(Job)


def parse_events(lines: Iterable[str | bytes]) -> Iterator[Event]:
    """Parse lines of JSON; skip lines that a kill cut short."""
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)
