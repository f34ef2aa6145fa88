"""The pair of networks that the benchmarks train, the device, and the number of repetitions."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from bench import api, data
from bench.data import Resident
from bench.execution.protocol import Task
from bench.planning.plan import Plan

PAIR = Path(__file__).with_name("pair.yaml")


@dataclass(frozen=True)
class Workload:
    """A suite of one pair and its methods, on a device."""

    suite: Path = PAIR
    device: torch.device = torch.device("cpu")
    threads: int = 2
    rounds: int = 5  # each subject is timed once a round
    steps: int = 2  # timed steps of a subject a round
    warm: int = 1  # untimed steps before them
    workers: int = 8  # processes of the reference's loader: RepDistiller's default
    clock: str = "wall"  # or "processor", which other load on the machine affects little
    methods: tuple[str, ...] = ()  # of the suite; empty: all. `growth` always uses all
    runs: int = 10_000  # of the large plan and the large report
    before: Path | None = None  # another checkout, which `startup` measures beside this one

    def plan(self, *changes: str) -> Plan:
        """Return the suite's plan, with changes such as "recipe.precision=bf16"."""
        return api.load_plan(self.suite, changes)

    def tasks(self, *changes: str) -> dict[str, Task]:
        """Return the task of each method's run."""
        plan = self.plan(*changes)
        runs = {cell.method.name: plan.runs[cell.run] for cell in plan.cells}
        return {name: Task(run.id, name, run.specification) for name, run in runs.items()}

    @property
    def gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that a recipe may use on the device."""
        return ("float32", "tf32", "bf16") if self.gpu else ("float32", "bf16")

    @cached_property
    def selected(self) -> list[str]:
        """The names of the timed methods."""
        return list(self.methods or self.tasks())

    @cached_property
    def teacher(self) -> str:
        """The teacher's network."""
        return self.plan().suite.pairs[0].teacher.network

    @cached_property
    def student(self) -> str:
        """The student's network."""
        return self.plan().suite.pairs[0].student

    @cached_property
    def data(self) -> Resident:
        """The suite's data set, on the device."""
        suite = self.plan().suite
        dataset = data.load(suite.data, None, self.device, added=suite.registry.datasets)
        assert isinstance(dataset, Resident)
        return dataset
