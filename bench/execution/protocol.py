"""Messages between the runner, which schedules training, and its worker processes.

Each message is a line of JSON. The runner sends a job to a worker; the worker sends events to the
runner.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.data import Facts
from bench.results.record import Record, Status, TeacherInfo
from bench.spec import RunSpec
from bench.suite import Checkpoint, InitialWeights

Event = Mapping[str, Any]  # the docstring of `Job` lists all kinds of events
Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Task:
    """One run of a job.

    Attributes:
        id: Id of the run.
        name: Name of the run in messages.
        specification: Specification of the run.
        checkpoint: File with a teacher's trained weights; None: the run trains its network.
        init: File whose weights the network begins with; None: random weights.
    """

    id: str
    name: str
    specification: RunSpec
    checkpoint: Checkpoint | None = None
    init: InitialWeights | None = None

    def record(self, status: Status, reason: str | None, **fields: Any) -> Record:
        """Return a record for the run.

        Args:
            status: Outcome of the run.
            reason: Why the run has no result; None if it has a result.
            **fields: Other fields of `Record`, as JSON data; omitted fields are empty.
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
    """A cohort: runs that one worker trains together on one device, batch by batch.

    A worker answers with events. The key `event` of an event has one of these values:

    - `epoch`: The run with the id `run` completed an epoch; `entry` holds the losses and metrics of
      the epoch.
    - `record`: A run ended; `record` is the content of the run's record.
    - `notice`: `text` is a message for the user.
    - `heartbeat`: A batch was read; a worker sends at most one heartbeat per second.
    - `split`: The cohort must be split: memory ran out, or a step could not be captured as a CUDA
      graph. `reason` has the details.
    - `unwritable`: The results folder cannot be written to; `reason` says why.
    - `exit`: The last event, which the executor sends. `reason` is None after a success, otherwise
      the cause of the failure. `lost` is true if the machine was lost; this does not count as a
      failed attempt of the runs.

    Attributes:
        id: Id of the cohort.
        tasks: The runs to train.
        teacher: The trained teacher of all runs; None if the runs have no teacher.
        sources: The other finished runs that the runs need, by id: members of an ensemble, and
            subjects of probes.
        device: Device that trains, such as `cuda:0`.
        threads: Number of threads that torch uses on a CPU.
        results: Path of the results folder.
        dataset: Name of the data set, or `folder:PATH` for a folder of images.
        facts: Facts of the data set for the networks that are trained; None: those of the data set.
        teacher_facts: Facts of the images on which the teacher was trained; None: `facts`.
        data_root: Folder of the data sets; None: the folder in the variable `BENCH_DATA`, or else
            `data` in the current folder.
        plugins: Paths of the suite's plugins.
        plugins_enabled: Whether plugins may be loaded, including those of installed packages.
        graphs: Whether to capture steps as CUDA graphs.
        keep_teacher: Whether to keep the teacher's outputs on disk, and to read those kept before.
        networks: Names of the suite's networks, for the refusal of a checkpoint.
        options: Arguments of the constructors of networks of libraries, by the network's name.
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
    keep_teacher: bool = False
    networks: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: Mapping[str, TeacherInfo] = field(default_factory=dict)
    facts: Facts | None = None
    teacher_facts: Facts | None = None

    @property
    def teacher_stages(self) -> Sequence[str]:
        """The declared layers of the teacher's stages; only tasks that read stages name them."""
        named = (task.specification.teacher_stages for task in self.tasks)
        return next(filter(None, named), ())

    def without(self, runs: Collection[str]) -> "Job":
        """Return the job without the tasks of these runs."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.id not in runs))

    def absolute(self) -> "Job":
        """Return the job with absolute paths, for a worker on another machine."""
        root = Path(self.data_root or "data").resolve()
        return replace(self, results=str(Path(self.results).resolve()), data_root=str(root))

    def to_json(self) -> str:
        """Return the job as one line of JSON."""
        # pydantic's own JSON writer is not used, because it refuses paths that are not UTF-8.
        return json.dumps(_JOB.dump_python(self, mode="json", exclude_unset=True))

    @staticmethod
    def from_json(text: str) -> "Job":
        """Return the job from a line of JSON that `to_json` returned."""
        return _JOB.validate_python(json.loads(text))


_JOB = TypeAdapter(Job)


def parse_events(lines: Iterable[str | bytes]) -> Iterator[Event]:
    """Yield the event in each line of JSON; skip a line that a killed process left incomplete."""
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)
