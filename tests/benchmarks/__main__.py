"""`python -m tests.benchmarks [PART…]` takes all times and prints one table, in Markdown."""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from tests.benchmarks.around import start, tracking, verbs
from tests.benchmarks.ceiling import ceiling
from tests.benchmarks.memory import memory
from tests.benchmarks.rounds import CLOCKS
from tests.benchmarks.scores import scores
from tests.benchmarks.table import Row, heading, markdown
from tests.benchmarks.training import alone, data, evaluation, growth, together
from tests.benchmarks.tried import tried
from tests.benchmarks.workload import Workload

PARTS: Mapping[str, Callable[[Workload], list[Row]]] = {
    "ceiling": ceiling,
    "alone": alone,
    "lockstep": together,
    "data": data,
    "evaluation": evaluation,
    "scores": scores,
    "growth": growth,
    "tried": tried,
    "memory": memory,
    "verbs": verbs,
    "start": start,
    "tracking": tracking,
}
ON_A_GPU = {"steps": 50, "warm": 25}  # the reference's eight loaders have 16 batches ready


def usual() -> Workload:
    """What is timed unless arguments say otherwise."""
    if torch.cuda.is_available():
        return Workload(device=torch.device("cuda"), **ON_A_GPU)
    return Workload()


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the parts that are named, or all of them."""
    load = usual()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; none: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every number there")
    parser.add_argument("--suite", type=Path, default=load.suite, help="another pair")
    parser.add_argument("--methods", type=lambda text: tuple(text.split(",")), default=())
    parser.add_argument("--device", type=torch.device, default=load.device)
    parser.add_argument("--clock", choices=CLOCKS, default=load.clock,
                        help="processor: use it with --threads 1 --workers 0")  # fmt: skip
    for name in ("threads", "rounds", "steps", "warm", "workers", "runs"):
        parser.add_argument(f"--{name}", type=int, default=getattr(load, name))
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    known = {field.name for field in fields(Workload)} & vars(given).keys()
    load = replace(load, **{name: getattr(given, name) for name in known})
    torch.set_num_threads(load.threads)
    warnings.filterwarnings("ignore", "This DataLoader will create")  # the field's number of them
    rows = []
    for name in given.parts or PARTS:
        print(f"{name} …", file=sys.stderr)
        rows += PARTS[name](load)
    print(heading(load), markdown(rows), sep="\n\n")
    if given.json:
        kept = {"heading": heading(load), "rows": [asdict(row) for row in rows]}
        given.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
