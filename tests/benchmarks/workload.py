"""What is timed, on what, and how often."""

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
    """The one pair of a suite and its methods, on a device."""

    suite: Path = PAIR
    device: torch.device = torch.device("cpu")
    threads: int = 2
    rounds: int = 5  # in each of which every subject is timed once
    steps: int = 2  # timed, of a subject in a round
    warm: int = 1  # untimed, before them
    workers: int = 8  # processes of the reference's loader: RepDistiller's default
    clock: str = "wall"  # or "processor", which others on the machine disturb little
    methods: tuple[str, ...] = ()  # timed alone, in lockstep, for memory; none: all of the suite
    runs: int = 10_000  # of the large plan, and records of the large report

    def plan(self, *changes: str) -> Plan:
        return api.load_plan(self.suite, changes)

    def tasks(self, *changes: str) -> dict[str, Task]:
        """For each method of the suite the task of its run."""
        whole = self.plan(*changes)
        found = {cell.method.name: whole.runs[cell.run] for cell in whole.cells}
        return {name: Task(run.id, name, run.specification) for name, run in found.items()}

    @property
    def gpu(self) -> bool:
        """Whether the device is one."""
        return self.device.type == "cuda"

    @property
    def precisions(self) -> tuple[str, ...]:
        """What a recipe may ask of the device."""
        return ("float32", "tf32", "bf16") if self.gpu else ("float32", "bf16")

    @cached_property
    def chosen(self) -> list[str]:
        """The methods that are timed."""
        return list(self.methods or self.tasks())

    @cached_property
    def teacher(self) -> str:
        return self.plan().suite.pairs[0].teacher.network

    @cached_property
    def student(self) -> str:
        return self.plan().suite.pairs[0].student

    @cached_property
    def data(self) -> Resident:
        held = data.load(self.plan().suite.data, None, self.device)
        assert isinstance(held, Resident)
        return held
