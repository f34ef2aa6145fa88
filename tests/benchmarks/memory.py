"""Part about memory: what a cohort holds between steps, and what a step needs beyond it.

`python -m tests.benchmarks.memory DEVICE SUITE THREADS METHOD…` prints the bytes as JSON: in a
process of its own, whose peak is nobody else's.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from bench import models
from tests.benchmarks.ours import Cohort
from tests.benchmarks.table import Row
from tests.benchmarks.workload import Workload

FEW = ("kd", "crd+kd")
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SECOND = "the step that counts"


def memory(load: Workload) -> list[Row]:
    """Of few students and of all: beyond the states, more students must not need more."""
    found = {}
    for methods in (FEW, load.chosen):
        command = [sys.executable, "-m", "tests.benchmarks.memory", load.device.type]
        command += [str(load.suite), str(load.threads), *methods]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[len(methods)] = json.loads(output)
    few, rows = found[len(FEW)], []
    for count, of in found.items():
        rows.append(Row("memory", f"{count} methods: states", [of["states"] / 1e6], "MB"))
        for what, target in (("step", "≤ 1.05"), ("process", "")):
            named = f"{count} methods: beyond them, {what}'s peak"
            ratio = f"it / that of {len(FEW)}", [of[what] / few[what]]
            rows.append(Row("memory", named, [of[what] / 1e6], "MB", *ratio, target))
    return rows


def measured(load: Workload) -> dict[str, int]:
    """Bytes of the states; and beyond them the peak of a step's tensors, and of the process."""
    models.shapes(models.build(load.teacher, load.data.facts.classes), load.data.facts.size)
    before = resident(peak=False)  # with the data, and with all modules imported
    cohort = Cohort(load, load.chosen)
    cohort(3)
    process = resident(peak=True) - before
    return {"states": states(cohort), "step": step(cohort), "process": process - states(cohort)}


def resident(*, peak: bool) -> int:
    """Bytes of this process, now or the most since the last call; the GPU's are not among them."""
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    RESET.write_text("5")  # the peak starts anew
    return 1024 * int(line.split()[1])


def states(cohort: Cohort) -> int:
    """Bytes of weights, gradients, momenta and buffers."""
    tensors = [*cohort.teacher.net.state_dict().values()]
    for one in cohort.learners:
        for module in (one.net, one.loss):
            tensors += [*module.buffers(), *module.parameters()]
            tensors += [p.grad for p in module.parameters()]
        tensors += [m for state in one.optimizer.state.values() for m in state.values()]
    return sum({t.data_ptr(): t.nbytes for t in tensors if t is not None}.values())


def step(cohort: Cohort) -> int:
    """Bytes of tensors at the peak of a step, beyond those that are there before and after it."""
    device = cohort.learners[0].device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        cohort(1)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        cohort(1)  # gradients that it frees were made before, unseen
        with record_function(SECOND):
            cohort(1)
    events = sorted(seen.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    begin = next(n for n, event in enumerate(events) if event.name() == SECOND)
    live, most = 0, 0
    for event in events[begin:]:
        if event.name() == "[memory]":
            live += event.nbytes()
            most = max(most, live)
    return most


if __name__ == "__main__":
    device, suite, threads, *methods = sys.argv[1:]
    torch.set_num_threads(int(threads))
    load = Workload(Path(suite), torch.device(device), int(threads), methods=tuple(methods))
    print(json.dumps(measured(load)))
