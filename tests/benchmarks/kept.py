"""Part `kept`: the epoch of a method added later, with the teacher's kept outputs and without."""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import torch

from bench import api, models
from bench.api import Machine
from bench.results import Results
from tests.benchmarks.table import Row, divide
from tests.benchmarks.workload import Workload

FIRST, LATER = "kd", "dkd"
WAYS = {"computed": False, "kept": True}
TARGET = "≥ 2"
PER_CLASS = 4  # images of a class


def kept(load: Workload) -> list[Row]:
    """Train one method, then another with the first one's kept outputs and without, in turn.

    The time is the wall time of the later run's second epoch, with the teacher's pass and the data.
    The teacher has random weights.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    facts = load.data.facts
    for turn in range(load.rounds):
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder, "teacher.pt")
            torch.save(models.build(load.teacher, facts.classes, facts.size).state_dict(), weights)
            changes = (
                f"teachers.checkpoints.{load.teacher}={weights}", "recipe.epochs=2",
                f"dataset.per_class={PER_CLASS}", f"seeds=[{turn}]",
            )  # fmt: skip
            for way, keeps in WAYS.items():
                results = Results(Path(folder, way))
                machine = Machine(gpus=(), inline=True, threads=load.threads, keep_teacher=keeps)
                for method in (FIRST, LATER):
                    plan = load.plan(*changes, f"methods=[{method}]")
                    api.execute(plan, results, machine)
                record = results.record(plan.cells[0].run)
                assert record is not None
                epoch = record.curves[1]
                seconds[way].append(epoch.seconds + epoch.shared_seconds)
            sizes = [file.stat().st_size for file in results.teacher_outputs.glob("*.npy")]
        print(f"  round {turn + 1} of {load.rounds}", file=sys.stderr)
    name = f"an epoch of {LATER}, the teacher's outputs"
    ratio = "computed / this", divide(seconds["computed"], seconds["kept"]), TARGET
    return [
        Row("kept", f"{name} computed", seconds["computed"], "s"),
        Row("kept", f"{name} kept", seconds["kept"], "s", *ratio),
        Row("kept", "bytes of the outputs of an epoch", [max(sizes) / 1e6], "MB"),
    ]
