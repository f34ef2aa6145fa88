"""Timing in rounds: all subjects take turns, so that other load affects all of them alike."""

import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from tests.benchmarks.workload import Workload

Steps = Callable[[int], object]  # called with n, it runs n steps


def processor_seconds() -> float:
    """Return the processor time of this process and its ended children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.perf_counter,
    "processor": processor_seconds,
}


def time_subjects(subjects: Mapping[str, Steps], load: Workload) -> dict[str, list[float]]:
    """Return milliseconds a step for each subject, one number a round.

    Each round has its own random order. Untimed steps precede the timed ones: they use up batches
    that a loader's processes prepared during another subject's turn.
    """
    samples: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(load.rounds):
        for name in random.Random(turn).sample(list(subjects), len(subjects)):
            subjects[name](load.warm)
            seconds = time_call(lambda name=name: subjects[name](load.steps), load)
            samples[name].append(1000 * seconds / load.steps)
        latest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in samples.items())
        print(f"  round {turn + 1} of {load.rounds}, ms: {latest}", file=sys.stderr, flush=True)
    return samples


def time_call(call: Callable[[], object], load: Workload) -> float:
    """Return the seconds of a call; on a GPU, until the device has finished."""
    clock = CLOCKS[load.clock]
    synchronize(load.device)
    start = clock()
    call()
    synchronize(load.device)
    return clock() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_command(arguments: Sequence[str], load: Workload, stdin: str = "") -> list[float]:
    """Return the seconds of `python -m <arguments>` in a new process, one number a round.

    The input stays open until the process ends: a worker ends when its input closes.
    """
    command = [sys.executable, "-m", *arguments]

    def call() -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        with subprocess.Popen(command, text=True, **pipes) as process:
            if stdin:
                process.stdin.write(stdin + "\n")
                process.stdin.flush()
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, command)

    return [time_call(call, load) for _ in range(load.rounds)]
