"""Taking times: all subjects take turns, so that what disturbs the machine disturbs all of them."""

import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from tests.benchmarks.workload import Workload

Steps = Callable[[int], object]  # makes so many steps


def processor() -> float:
    """Seconds that this process, and those it started that have ended, had a processor."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": processor}


def interleaved(subjects: Mapping[str, Steps], load: Workload) -> dict[str, list[float]]:
    """Milliseconds a step of each subject, one number a round; each round has an order of its own.

    A subject's timed steps come after untimed ones: by then what lay ready, such as batches that
    a loader's processes had made during another's turn, is used up.
    """
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(load.rounds):
        for name in random.Random(turn).sample(list(subjects), len(subjects)):
            subjects[name](load.warm)
            seconds = timed(lambda name=name: subjects[name](load.steps), load)
            found[name].append(1000 * seconds / load.steps)
        print(f"  round {turn + 1} of {load.rounds}", file=sys.stderr)
    return found


def timed(call: Callable[[], object], load: Workload) -> float:
    """Seconds of a call; on a GPU until it has done what it was told."""
    clock = CLOCKS[load.clock]
    settled(load.device)
    start = clock()
    call()
    settled(load.device)
    return clock() - start


def settled(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def command(arguments: Sequence[str], load: Workload, given: str = "") -> list[float]:
    """Seconds of `python -m <arguments>` in a process of its own, one number a round.

    `given` is its input, which stays open until the end: a worker ends when its input does.
    """
    whole = [sys.executable, "-m", *arguments]

    def call() -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        with subprocess.Popen(whole, text=True, **pipes) as process:
            if given:
                process.stdin.write(given + "\n")
                process.stdin.flush()
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, whole)

    return [timed(call, load) for _ in range(load.rounds)]
