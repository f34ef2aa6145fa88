"""Part `looking`: processor time and memory of commands that only look at suites and records."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench import api
from tests.benchmarks import records
from tests.benchmarks.commands import LARGE
from tests.benchmarks.table import Row, divide
from tests.benchmarks.workload import Workload

ROOT = Path(__file__).parents[2]
TORCH = "import torch"
SUITE, RESULTS = "quickstart", str(ROOT / "results" / "quickstart")
FINISHED = "run, all runs finished"
TARGETS = {FINISHED: "≤ 0.8"}
SMALL = {  # on the committed records of the quickstart
    "report": ["report", SUITE, "--results", RESULTS],
    "status": ["status", SUITE, "--results", RESULTS],
    "check": ["check", SUITE, "--results", RESULTS, "--baseline",
              f"{RESULTS}/quickstart-baseline.json"],
    "compare": ["compare", RESULTS, RESULTS],
    "figures, with matplotlib": ["figures", SUITE, "--results", RESULTS],
    "list distillers": ["list", "distillers"],
    "show": ["show", SUITE],
    "validate": ["validate", SUITE],
    "--help": ["--help"],
    FINISHED: ["run", SUITE, "--results", RESULTS, "--tracker", "none"],
}  # fmt: skip
CODES = (0, 1, 4)  # done, regression, inconclusive
MATPLOTLIB = "import matplotlib.pyplot"
# A process begins with the peak memory of the process that starts it, so a small one starts it.
LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
seconds = used.ru_utime + used.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss]))
os._exit(0)
"""


def looking(load: Workload) -> list[Row]:
    """Measure this checkout and the one in `load.before` in turn; ratios are to `import torch`."""
    checkouts = {"": ROOT} | ({", before": load.before} if load.before else {})
    seconds: dict[str, list[float]] = defaultdict(list)
    memory: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        large = large_commands(load, Path(folder))
        small = {name: moved(arguments, Path(folder)) for name, arguments in SMALL.items()}
        for turn in range(-1, load.rounds):  # the first turn fills caches, and is not counted
            used = {name: usage(["-c", name], ROOT) for name in (TORCH, MATPLOTLIB)}
            for end, root in checkouts.items():
                for name, arguments in {**small, **large}.items():
                    used[name + end] = usage(["-P", "-m", "bench", *arguments], root)
            for name, (time, size) in used.items() if turn >= 0 else ():
                seconds[name].append(time)
                memory[name].append(size)
            print(f"  round {turn + 1} of {load.rounds}", file=sys.stderr)
    ratio = "this / import torch"
    rows = [
        Row("looking", name, values, "s", ratio, divide(values, seconds[TORCH]),
            TARGETS.get(name, "≤ 0.4" if name in small else ""))
        for name, values in seconds.items() if name.partition(", before")[0] not in large
    ]  # fmt: skip
    for name, values in seconds.items():
        if name.partition(", before")[0] in large:
            is_old = name.endswith(", before")
            rows.append(Row("looking", name, values, "s", target="" if is_old else "≤ 1"))
            what = f"{name}: memory"
            rows.append(Row("looking", what, memory[name], "MB", target="" if is_old else "≤ 200"))
    return rows


def large_commands(load: Workload, folder: Path) -> dict[str, list[str]]:
    """Write the records of a large plan; return commands that read them, by name."""
    suite = api.load_plan(LARGE).suite
    last = math.ceil(load.runs / (len(suite.pairs) * len(suite.methods))) - 1
    plan = api.load_plan(LARGE, [f"seeds=0-{last}"])
    results = folder / "large"
    copies = [folder / "half", folder / "the same half"]
    for path in (results, *copies):
        (path / "runs").mkdir(parents=True)
    for number, (run, text) in enumerate(records.record_texts(plan)):
        path = results / "runs" / f"{run}.json"
        path.write_text(text)
        for copy in copies if number < len(plan.runs) / 2 else ():
            os.link(path, copy / "runs" / path.name)
    arguments = [LARGE, "--seeds", f"0-{last}", "--results", str(results)]
    count = f"{len(plan.runs)} records"
    return {
        f"status of {count}": ["status", *arguments],
        f"report of {count}": ["report", *arguments],
        f"compare of {count}, half in each folder": ["compare", *map(str, copies)],
    }


def moved(arguments: list[str], folder: Path) -> list[str]:
    """Return a command that reads a copy of the committed results, to which it may write."""
    copy = folder / "quickstart"
    if not copy.exists():
        subprocess.run(["cp", "-a", RESULTS, copy], check=True)
    return [argument.replace(RESULTS, str(copy)) for argument in arguments]


def usage(arguments: list[str], root: Path) -> tuple[float, float]:
    """Return processor seconds and peak memory in MB of a Python command."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", LAUNCHER, sys.executable, *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    code, seconds, kilobytes = json.loads(process.stdout)
    if code not in CODES:
        raise RuntimeError(f"{arguments}: exit code {code}: {process.stderr}")
    return seconds, kilobytes / 1000
