"""Part `startup`: processor time of short suites, and from a command to the first training step.

All times are processor seconds of a command and all its processes, whatever the clock. First steps
on CIFAR-100 are measured only if BENCH_DATA is set, those of other code bases only if BENCH_PEERS
(tests/benchmarks/peers.py) is set, too.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch

from bench import models
from tests.benchmarks import peers
from tests.benchmarks.table import Row, divide
from tests.benchmarks.workload import Workload

HERE = Path(__file__).parent
TORCH, SHORT = "import torch", "bench run, three runs of two epochs, with MLflow"
FINISHED, STEP = "the same command again", "bench run, to the first step of KD on CIFAR-100"
TARGETS = {SHORT: "≤ 4", FINISHED: "≤ 0.8"}


def startup(load: Workload) -> list[Row]:
    """Measure this checkout and the one in `load.before` in turn; ratios are to `import torch`."""
    checkouts = {"": HERE.parents[1]} | ({", before": load.before} if load.before else {})
    samples: dict[str, list[float]] = defaultdict(list)
    data, clones = (os.environ.get(name, "") for name in ("BENCH_DATA", "BENCH_PEERS"))
    others = peers.commands(Path(clones), Path(data)) if data and clones else {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(-1, load.rounds):  # the first turn fills caches, and is not counted
            seconds = {TORCH: processor_seconds(["-c", "import torch"])}
            for name, root in checkouts.items():
                results = Path(folder, f"{turn}{name}")
                run = ["-P", "-m", "bench", "run", str(HERE / "three_runs.yaml")]
                for what in (SHORT, FINISHED):
                    seconds[what + name] = processor_seconds(
                        [*run, "--results", str(results)], PYTHONPATH=str(root)
                    )
                if data:
                    seconds[STEP + name] = first_step(root, Path(folder, f"step{name}"))
            for name, command in others.items():
                seconds[f"{name}, to the first step of KD on CIFAR-100"] = seconds_to_first_step(
                    command.arguments, command.folder, PYTHONPATH=command.path
                )
            for what, value in seconds.items() if turn >= 0 else ():
                samples[what].append(value)
            print(f"  round {turn + 1} of {load.rounds}", file=sys.stderr)
    ratio = "this / import torch"
    return [
        Row("startup", what, values, "s", ratio, divide(values, samples[TORCH]),
            TARGETS.get(what, ""))
        for what, values in samples.items()
    ]  # fmt: skip


def processor_seconds(arguments: list[str], **environment: str) -> float:
    """Return the processor seconds of a Python command and of its children that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_step(root: Path, folder: Path) -> float:
    """Return the processor seconds of `bench run` of a checkout until its student's first step.

    The first call in a folder ends there, too, but it also evaluates the teacher's weights.
    """
    folder.mkdir(exist_ok=True)
    suite = folder / "first_step.yaml"
    if not suite.exists():
        suite.write_text((HERE / "first_step.yaml").read_text())
        torch.manual_seed(0)
        torch.save(models.build("resnet32x4", 100, 32).state_dict(), folder / "teacher.pt")
    command = [
        "bench",
        "run",
        str(suite),
        "--results",
        str(folder / "results"),
        "--tracker",
        "none",
    ]
    return seconds_to_first_step(["-P", "-m", *command], PYTHONPATH=str(root))


def seconds_to_first_step(
    arguments: list[str], working_folder: Path | None = None, **environment: str
) -> float:
    """Return the processor seconds of a Python command until its first step of an optimiser."""
    paths = [str(HERE / "hook"), *filter(None, [environment.pop("PYTHONPATH", "")])]
    with tempfile.NamedTemporaryFile("r") as file:
        variables: Mapping[str, str] = {
            "PYTHONPATH": os.pathsep.join(paths), "FIRST_STEP_FILE": file.name,
        }  # fmt: skip
        process = subprocess.run(
            [sys.executable, *arguments], env={**os.environ, **environment, **variables},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=working_folder,
        )  # fmt: skip
        if text := file.read():
            return float(text)
    raise RuntimeError(f"no step: {process.stderr}")
