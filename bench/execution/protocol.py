"""What a worker is told: one cohort, where it runs, and where its files are. Plain JSON."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.results.record import Record, Status
from bench.spec import RunSpec

Event = Mapping[str, Any]
Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Task:
    """One run of a job."""

    id: str
    name: str  # what people call it
    specification: RunSpec
    checkpoint: Mapping[str, Any] | None = None  # path and manifest, where there is one to adopt

    def record(self, status: Status, reason: str | None, **details: Any) -> Record:
        """The task's record, with what is known of its end; the rest is empty but there."""
        spec = self.specification
        network = {"name": spec.network, **details.pop("network", {})}
        fields = {
            "id": self.id,
            "kind": spec.role,
            "status": status,
            "reason": reason,
            "name": self.name,
            "specification": spec,
            "seed": spec.seed,
            "network": network,
            "teacher": None,
            "weights": None,
            "metrics": {},
            "curves": [],
            "environment": {},
            "started": None,
            "finished": None,
            "seconds": 0.0,
            **details,
        }
        return Record.model_validate(fields)


@dataclass(frozen=True)
class Job:
    """A cohort to be trained in lockstep on one device, or on several: `cuda:0+cuda:1`.

    A worker answers with events: `epoch` (run, entry), `record` (record), `notice` (text) for
    people, `alive` now and then while it works; and, as its last word, `split` (reason) where the
    cohort cannot be done as one, for lack of memory or because a step cannot be recorded, or
    `unwritable` (reason) where the results take no more.
    """

    id: str
    tasks: tuple[Task, ...]
    teacher: Mapping[str, Any] | None  # id, network, sha256 and top1 of the teacher's record
    device: str
    threads: int
    results: str
    dataset: str  # its name, which for a folder of images says where it lies
    data_root: str | None
    plugins: tuple[str, ...] = ()
    plugins_enabled: bool = True
    graphs: bool = False  # whether steps are recorded as CUDA graphs

    @property
    def devices(self) -> list[str]:
        """The device of each rank: several train each run together."""
        return self.device.split("+")

    def to_json(self) -> str:
        """The job as one line."""
        return json.dumps(asdict(self), default=lambda spec: spec.content)

    @staticmethod
    def from_json(text: str) -> "Job":
        """The job of a line that `to_json` made."""
        held = json.loads(text)
        tasks = tuple(
            Task(**{**task, "specification": RunSpec.model_validate(task["specification"])})
            for task in held.pop("tasks")
        )
        plugins = tuple(held.pop("plugins"))
        return Job(tasks=tasks, plugins=plugins, **held)
