"""Part `memory`: what a cohort occupies between steps, and a step's peak beyond that.

`python -m tests.benchmarks.memory DEVICE SUITE THREADS METHOD…` prints the bytes as JSON. It runs
in a new process, so that the process's peak belongs to one cohort.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from bench import models
from tests.benchmarks.ours import CohortSteps
from tests.benchmarks.table import Row
from tests.benchmarks.workload import Workload

FEW = ("kd", "crd+kd")
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEASURED_STEP = "the measured step"


def memory(load: Workload) -> list[Row]:
    """Measure a few students and all: the step's peak beyond the states must not grow."""
    bytes_by_count = {len(methods): measured(load, methods) for methods in (FEW, load.selected)}
    few, rows = bytes_by_count[len(FEW)], []
    for count, sizes in bytes_by_count.items():
        rows.append(Row("memory", f"{count} methods: states", [sizes["states"] / 1e6], "MB"))
        for what, target in (("step", "≤ 1.05"), ("process", "")):
            subject = f"{count} methods: {what}'s peak beyond the states"
            ratio = f"this / {len(FEW)} methods", [sizes[what] / few[what]]
            rows.append(Row("memory", subject, [sizes[what] / 1e6], "MB", *ratio, target))
    return rows


def measured(load: Workload, methods: Sequence[str]) -> dict[str, int]:
    """Return the result of `measure` for some methods, in a new process."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", load.device.type]
    command += [str(load.suite), str(load.threads), *methods]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    sizes: dict[str, int] = json.loads(output)
    return sizes


def measure(load: Workload) -> dict[str, int]:
    """Return the bytes of states, and beyond them the peaks of a step's tensors and the process.

    `peak` is the peak of the process, with the data, the modules and the states.
    """
    models.shapes(models.build(load.teacher, load.data.facts.classes), load.data.facts.size)
    before = resident_bytes(peak=False)  # with the data loaded and all modules imported
    cohort = CohortSteps(load, load.selected)
    cohort.end_stages()
    cohort(3)
    peak, states = resident_bytes(peak=True), state_bytes(cohort)
    process = peak - before - states
    return {"states": states, "step": step_peak_bytes(cohort), "process": process, "peak": peak}


def resident_bytes(*, peak: bool) -> int:
    """Return this process's resident memory, or its peak since the last call, without the GPU's."""
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    RESET.write_text("5")  # resets the peak
    return 1024 * int(line.split()[1])


def state_bytes(cohort: CohortSteps) -> int:
    """Return the bytes of weights, gradients, momenta and buffers, and the teacher's weights."""
    tensors = [*cohort.teacher.net.state_dict().values()]
    for learner in cohort.learners:
        for module in (learner.net, learner.loss):
            tensors += [*module.buffers(), *module.parameters()]
            tensors += [p.grad for p in module.parameters()]
        tensors += [m for state in learner.optimizer.state.values() for m in state.values()]
    return sum({t.data_ptr(): t.nbytes for t in tensors if t is not None}.values())


def step_peak_bytes(cohort: CohortSteps) -> int:
    """Return the peak of a step's tensors, beyond the tensors that exist before and after it."""
    device = cohort.learners[0].device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        cohort(1)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        cohort(1)  # frees gradients that were allocated before profiling started
        with record_function(MEASURED_STEP):
            cohort(1)
    events = profiler.profiler.kineto_results.events()
    events = sorted(events, key=lambda event: event.start_ns())
    begin = next(n for n, event in enumerate(events) if event.name() == MEASURED_STEP)
    live, peak = 0, 0
    for event in events[begin:]:
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


if __name__ == "__main__":
    device, suite, threads, *methods = sys.argv[1:]
    torch.set_num_threads(int(threads))
    load = Workload(Path(suite), torch.device(device), int(threads), methods=tuple(methods))
    print(json.dumps(measure(load)))
