"""Part `per-gpu`: cohorts of KD that train on one device at the same time, each in its process.

`python -m tests.benchmarks.per_gpu` is one of these processes. It reads its settings as JSON. In
each round it prints "ready", waits for a line, trains for some seconds, and prints its number of
steps and its seconds.
"""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.ours import CohortSteps
from tests.benchmarks.table import Row, divide
from tests.benchmarks.timing import synchronize
from tests.benchmarks.workload import Workload

METHOD = "kd"
COUNTS = (1, 2, 4)
GPU_SECONDS, CPU_SECONDS = 4.0, 0.2
GPU_CHUNK, CPU_CHUNK = 20, 1  # steps between two looks at the clock
WARM_UP_CHUNKS = 2


def per_gpu(load: Workload) -> list[Row]:
    """Measure steps a second of all processes together, against one process."""
    rows = []
    precision = load.precisions[-1]
    for mode in ("eager", "graphs") if load.gpu else ("eager",):
        alone: list[float] = []
        for count in COUNTS if load.gpu else COUNTS[:2]:
            rates = together(load, count, precision, graphs=mode == "graphs")
            alone = alone or rates
            what = f"{count} at a time, {METHOD}, {precision}, {mode}"
            print(f"  {what}: {rates}", file=sys.stderr, flush=True)
            rows.append(
                Row("per-gpu", what, rates, "steps/s", "this / 1 at a time", divide(rates, alone))
            )
    return rows


def together(load: Workload, count: int, precision: str, *, graphs: bool) -> list[float]:
    """Return the steps a second of `count` processes together, one number a round."""
    settings = {
        "suite": str(load.suite), "device": str(load.device), "precision": precision,
        "graphs": graphs, "rounds": load.rounds,
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.benchmarks.per_gpu"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in range(count)
        ]
        stack.callback(lambda: [process.kill() for process in processes])
        for process in processes:
            print(json.dumps(settings), file=process.stdin, flush=True)
        rates = []
        for _ in range(load.rounds):
            for process in processes:
                if process.stdout.readline() != "ready\n":
                    raise RuntimeError("a process of the part per-gpu failed; see above")
            for process in processes:
                print(file=process.stdin, flush=True)
            results = [json.loads(process.stdout.readline()) for process in processes]
            rates.append(sum(steps / seconds for steps, seconds in results))
    return rates


def train(settings: dict[str, Any]) -> None:
    """Train in rounds, each started by a line on the input."""
    device = torch.device(settings["device"])
    torch.set_num_threads(1)
    load = Workload(suite=Path(settings["suite"]), device=device)
    cohort = CohortSteps(
        load, [METHOD], f"recipe.precision={settings['precision']}", graphs=settings["graphs"]
    )
    chunk, length = (GPU_CHUNK, GPU_SECONDS) if load.gpu else (CPU_CHUNK, CPU_SECONDS)
    cohort(WARM_UP_CHUNKS * chunk)
    synchronize(device)
    for _ in range(settings["rounds"]):
        print("ready", flush=True)
        sys.stdin.readline()
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < length:
            cohort(chunk)
            synchronize(device)
            steps += chunk
        print(json.dumps([steps, time.perf_counter() - start]), flush=True)


if __name__ == "__main__":
    train(json.loads(sys.stdin.readline()))
