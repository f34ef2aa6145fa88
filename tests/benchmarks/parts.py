"""Run the benchmarks and print one Markdown table: `python -m tests.benchmarks [PART…]`."""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from tests.benchmarks.ceiling import ceiling
from tests.benchmarks.cohort import cohort
from tests.benchmarks.commands import start, tracking, verbs
from tests.benchmarks.images import crops, decoding, images
from tests.benchmarks.kept import kept
from tests.benchmarks.looking import looking
from tests.benchmarks.memory import memory
from tests.benchmarks.per_gpu import per_gpu
from tests.benchmarks.precisions import precisions
from tests.benchmarks.scores import scores
from tests.benchmarks.startup import startup
from tests.benchmarks.table import Row, heading, markdown
from tests.benchmarks.timing import CLOCKS
from tests.benchmarks.training import alone, data, evaluation, graphs, growth, lockstep
from tests.benchmarks.tried import tried
from tests.benchmarks.workload import Workload

PARTS: Mapping[str, Callable[[Workload], list[Row]]] = {
    "ceiling": ceiling,
    "alone": alone,
    "lockstep": lockstep,
    "graphs": graphs,
    "per-gpu": per_gpu,
    "cohort": cohort,
    "precisions": precisions,
    "data": data,
    "images": images,
    "decoding": decoding,
    "crops": crops,
    "evaluation": evaluation,
    "scores": scores,
    "growth": growth,
    "tried": tried,
    "memory": memory,
    "verbs": verbs,
    "start": start,
    "tracking": tracking,
    "kept": kept,
    "startup": startup,
    "looking": looking,
}
GPU_STEPS = {"steps": 50, "warm": 25}  # the reference's eight loaders have 16 batches ready


def default_workload() -> Workload:
    """Return the workload without arguments: on a GPU if the machine has one."""
    if torch.cuda.is_available():
        return Workload(device=torch.device("cuda"), **GPU_STEPS)
    return Workload()


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the given parts, or all of them."""
    load = default_workload()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}. Default: all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    parser.add_argument("--suite", type=Path, default=load.suite, help="a suite of another pair")
    parser.add_argument("--before", type=Path, help="another checkout to measure, too")
    parser.add_argument("--methods", type=lambda text: tuple(text.split(",")), default=())
    parser.add_argument("--device", type=torch.device, default=load.device)
    parser.add_argument("--clock", choices=CLOCKS, default=load.clock,
                        help="processor: use it with --threads 1 --workers 0")  # fmt: skip
    for name in ("threads", "rounds", "steps", "warm", "workers", "runs"):
        parser.add_argument(f"--{name}", type=int, default=getattr(load, name))
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"unknown part {', '.join(unknown)}. Allowed: {', '.join(PARTS)}")
    names = {field.name for field in fields(Workload)} & vars(options).keys()
    load = replace(load, **{name: getattr(options, name) for name in names})
    torch.set_num_threads(load.threads)
    warnings.filterwarnings("ignore", "This DataLoader will create")  # the field's 8 workers
    rows = []
    for name in options.parts or PARTS:
        print(f"{name} …", file=sys.stderr)
        rows += PARTS[name](load)
    title = heading(load)
    print(title, markdown(rows), sep="\n\n")
    if options.json:
        content = {"heading": title, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
