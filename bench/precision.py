"""Warn of a precision that trains slower than float32 on its device.

Some processors execute bfloat16 faster than float32, others emulate it. A new process times both
precisions for about a second, on the networks of the plan's longest student; therefore the calling
process occupies no GPU. The result is kept in the user's cache.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from bench.cache import cached
from bench.planning.estimate import Estimate, network_of
from bench.planning.plan import Plan, Run
from bench.plugins import Registry
from bench.results.environment import device_name
from bench.spec import Recipe
from bench.training.evaluation import autocast

CPU_WORK = 12e9  # multiply-adds of a batch on a CPU: about 0.1 to 0.3 s on one core
ROUNDS, LIMIT_S = 3, 3.0  # timed rounds after the first; no further round starts after LIMIT_S
MARGIN = 1.05  # smaller ratios of the two times can be noise


class Comparison(NamedTuple):
    """The time of the teacher's forward pass and the student's forward and backward pass.

    Attributes:
        device: Name of the device.
        images: Images of a batch.
        seconds: Seconds for a batch in the suite's precision.
        float32: Seconds for a batch in float32.
    """

    device: str
    images: int
    seconds: float
    float32: float


def slow_precision(
    plan: Plan,
    runs: Sequence[Run],
    estimates: Mapping[str, Estimate],
    device: str,
    threads: int = 1,
) -> list[str]:
    """Return a warning if the precision of the runs is slower than float32, otherwise nothing.

    Of the runs that ask for another precision than float32, a student's with the most
    multiply-adds is compared, without students a teacher's. Without such a run, nothing is
    measured.

    Args:
        plan: The plan.
        runs: The runs to do.
        estimates: The estimated cost of each run, by id.
        device: The device that would train the runs, such as `cuda:0`.
        threads: Threads of a worker on a CPU.
    """
    asking = [
        run
        for run in runs
        if not run.specification.subject
        and run.specification.epochs
        and run.specification.recipe.precision != "float32"
    ]
    if not asking:
        return []
    run = max(asking, key=lambda run: (bool(run.teacher), estimates[run.id].work(run, 1)))
    request = _request(plan, run, estimates, device, threads)
    precision, (*teacher, student) = request["precision"], (n for n, _ in request["networks"])
    passes = [f"{name}'s forward pass" for name in teacher]
    passes.append(f"{student}'s forward and backward pass")
    try:
        times = _cached(request)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().rpartition("\n")[2]
        return [f"precision: {precision} could not be compared with float32: {reason}"]
    if times.seconds < MARGIN * times.float32:
        return []
    slow, fast = (f"{1000 * s / times.images:.3g} ms" for s in (times.seconds, times.float32))
    return [
        f"precision: {precision} is slower than float32 on {times.device}: {slow} an image, "
        f"float32 {fast} ({', '.join(passes)}). Set precision: float32 in the recipe, "
        "which changes the run ids, or train on another device"
    ]


def _request(
    plan: Plan, run: Run, estimates: Mapping[str, Estimate], device: str, threads: int
) -> dict[str, Any]:
    """Return what the process needs to compare the precisions of a run, as data for JSON."""
    suite, spec, facts = plan.suite, run.specification, plan.facts_of(run.kind)
    ids = [run.teacher, run.id] if run.teacher else [run.id]
    names = [plan.runs[id].specification.network for id in ids]
    costs = [cost.multiply_adds for id in ids if (cost := estimates[id].network)]
    work = sum(costs) + 2 * costs[-1] if costs else CPU_WORK  # a backward pass is two forward ones
    images = min(spec.recipe.batch_size, facts.train)
    if device == "cpu":
        images = max(1, min(images, int(CPU_WORK / work)))
    return {
        "networks": [network_of(suite, name) for name in names],
        "classes": facts.classes,
        "size": facts.size,
        "images": images,
        "precision": spec.recipe.precision,
        "device": device,
        "threads": threads,
        "plugins": [str(path) for path in suite.plugins],
        "sources": [suite.registry.source_of("network", name) for name in names],
        "plugins_enabled": suite.registry.enabled,
        "options": {name: dict(suite.registry.options.get(name, {})) for name in names},
    }


def _cached(request: Mapping[str, Any]) -> Comparison:
    """Return the comparison that the cache keeps for this machine; otherwise, make it."""

    def measure() -> list[Any]:
        command, text = [sys.executable, "-P", "-m", "bench.precision"], json.dumps(request)
        output = subprocess.run(command, input=text, text=True, capture_output=True, check=True)
        values: list[Any] = json.loads(output.stdout)
        return values

    return Comparison(*cached(["precision", request, _machine()], measure))


def _machine() -> list[str]:
    """Return what identifies this machine, without use of a GPU."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    kept = re.findall(r"^(?:model name|flags|Features)\s*:.*", text, re.M)[:2]
    instructions = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return [platform.node(), str(torch.__version__), instructions, *kept]


def compare(request: Mapping[str, Any]) -> Comparison:
    """Time both precisions in turns, on random images; return the medians.

    Args:
        request: The networks (teacher, student) with their stages, and the settings that
            `slow_precision` writes.
    """
    device = torch.device(request["device"])
    torch.set_num_threads(request["threads"] if device.type == "cpu" else torch.get_num_threads())
    registry = Registry.of(map(Path, request["plugins"]), enabled=request["plugins_enabled"])
    registry.options = request["options"]
    size, count = request["size"], request["images"]
    *teachers, student = (
        registry.build_network(name, request["classes"], size, stages).to(device)
        for name, stages in request["networks"]
    )
    for network in (*teachers, student):
        network.to(memory_format=torch.channels_last)
    images = torch.randn(count, 3, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(request["classes"], (count,), device=device)

    def step(recipe: Recipe) -> None:
        torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"
        with autocast(device, recipe):
            with torch.no_grad():
                for teacher in teachers:
                    teacher.eval()(images)
            logits = student.train()(images).logits
        torch.autograd.backward(F.cross_entropy(logits.float(), labels))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    rounds = _time_in_turns([Recipe(precision=request["precision"]), Recipe()], step, device)
    seconds, float32 = (median(column) for column in zip(*rounds, strict=True))
    return Comparison(device_name(device), count, seconds, float32)


def _time_in_turns(
    recipes: Sequence[Recipe], step: Callable[[Recipe], None], device: torch.device
) -> list[list[float]]:
    """Return the seconds of a step with each recipe, round by round, without the first round.

    On a CPU, the time is processor time, because other processes may use the processor, too.
    """
    is_cpu = device.type == "cpu"
    clock, cores = (time.process_time, torch.get_num_threads()) if is_cpu else (time.monotonic, 1)
    rounds: list[list[float]] = []
    begin = time.monotonic()
    while len(rounds) < 2 or (len(rounds) <= ROUNDS and time.monotonic() - begin < LIMIT_S):
        rounds.append([])
        for recipe in recipes:
            start = clock()
            step(recipe)
            rounds[-1].append((clock() - start) / cores)
    return rounds[1:]


if __name__ == "__main__":
    json.dump(compare(json.load(sys.stdin)), sys.stdout)
