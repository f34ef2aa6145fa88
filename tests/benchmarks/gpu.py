"""The half hour on a GPU: `python -m tests.benchmarks gpu --minutes 25` runs what is not yet done.

Each part is a process with a time limit. Its output and its state are written at once into a
folder, so that the next call continues. Without a GPU, each part runs in a small form on the CPU.
This module imports only the standard library, because it names the packages that are missing.
"""

import argparse
import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "gpu"  # git ignores build/
NOT_NEEDED = {"mlflow"}  # the runs have --tracker none
FOR_TESTS = ("pytest>=8", "pytest-benchmark>=5")  # pyproject.toml's options name a plugin
STOP_S = 20.0  # seconds from SIGTERM to SIGKILL: `bench run` ends its workers
RESERVE_S = 15.0  # of a call, for the end of the last part
LEAST_S = 60.0  # a part that resumes is not started for less
CHECK_LIMIT_S = 900.0  # some machines are busy
STOPPED, INTERRUPTED = "stopped at its limit", "interrupted"  # otherwise: done, failed
GRAPHS_GAIN = 1.2  # CUDA graphs are used for the pair if they are faster by this factor
SMI = (
    "nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits",
    "-i", "0", "-l", "1",
)  # fmt: skip
PAIR = "pair=resnet32x4/resnet8x4,method=student|kd,seed=0"
SMALL = (
    "--suite", "tests/benchmarks/check.yaml", "--device", "cpu", "--rounds", "1", "--steps", "1",
    "--threads", "1", "--workers", "0",
)  # fmt: skip
BENCH = ("-m", "bench", "run")
RUN = ("--results", "{folder}/pair", "--tracker", "none", "--view", "plain")


@dataclass(frozen=True)
class Part:
    """A command of Python, and its small form for a CPU; `{folder}` and `{data}` are replaced.

    Attributes:
        minutes: Expected on an H100; not measured.
        limit: Minutes after which the command is stopped.
        resumes: Whether a stopped command continues when it is repeated.
    """

    name: str
    title: str
    minutes: float
    limit: float
    command: Sequence[str]
    check: Sequence[str]
    resumes: bool = False


def marked() -> list[str]:
    """Return the files with tests that need a GPU; others may import packages that are missing."""
    return [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text("utf-8")
    ]


def benchmark(part: str, *options: str) -> tuple[str, ...]:
    """Return the command of a part of the benchmarks."""
    return "-m", "tests.benchmarks", part, "--json", f"{{folder}}/{part}.json", *options


def parts() -> list[Part]:
    """Return the parts, the one that is worth most first."""
    tests = ("-m", "pytest", "-q", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider")
    tests += ("--durations=10", *marked())
    return [
        Part("tests", "the tests marked gpu", 3, 6, tests, tests),
        Part("graphs", "KD, CRD and 14 methods, eager and in CUDA graphs; CRD's step and KD's", 2,
             5, benchmark("graphs", "--steps", "20", "--warm", "5"),
             benchmark("graphs", *SMALL, "--warm", "4")),
        Part("lockstep", "the reference loop and 14 methods in lockstep", 4, 8,
             benchmark("lockstep", "--rounds", "3", "--steps", "20", "--warm", "18"),
             benchmark("lockstep", *SMALL)),
        Part("per-gpu", "1, 2 and 4 cohorts of KD on one GPU at a time", 3, 6,
             benchmark("per-gpu", "--rounds", "3"), benchmark("per-gpu", *SMALL)),
        Part("pair", "CIFAR-100, resnet32x4 to resnet8x4, 240 epochs, in bf16", 25, 240,
             (*BENCH, "suites/cifar100_same_arch.yaml", "--filter", PAIR, "--set",
              "recipe.precision=bf16", "--data-root", "{data}", "--gpus", "0", *RUN),
             (*BENCH, "tests/benchmarks/check.yaml", "--filter", "method=student|kd", "--gpus",
              "none", "--workers", "1", *RUN), resumes=True),
    ]  # fmt: skip


class Record:
    """The states of the parts in `state.json`, and the page `gpu.md`, both in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._path = folder / "state.json"
        self.states: dict[str, Any] = (
            json.loads(self._path.read_text()) if self._path.exists() else {}
        )

    def state(self, part: Part) -> str:
        return str(self.states.get(part.name, {}).get("state", "to do"))

    def write(self, part: Part, entry: Mapping[str, Any]) -> None:
        """Add an attempt; write both files."""
        before = self.states.get(part.name, {})
        seconds = entry["seconds"] + before.get("seconds", 0.0)
        attempts = before.get("attempts", 0) + 1
        self.states[part.name] = {**entry, "seconds": seconds, "attempts": attempts}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self.states, indent=1) + "\n")
        new.replace(self._path)
        (self.folder / "gpu.md").write_text(self.page())

    def page(self) -> str:
        """Return the states and the end of each part's output, as Markdown."""
        lines = ["| part | state | s | attempts | GPU busy, median | GPU memory, peak | machine |",
                 "|---|---|---:|---:|---:|---:|---|"]  # fmt: skip
        for name, entry in self.states.items():
            busy = f"{entry['busy']:.0f} %" if entry["busy"] is not None else ""
            memory = f"{entry['memory']:.0f} MiB" if entry["memory"] is not None else ""
            cells = name, entry["state"], f"{entry['seconds']:.0f}", entry["attempts"]
            lines.append(
                "| " + " | ".join(map(str, (*cells, busy, memory, entry["machine"]))) + " |"
            )
        for name, entry in self.states.items():
            lines += ["", f"## {name}", "", f"`{entry['command']}`", "", "```"]
            lines += [*tail(self.folder / f"{name}.log", 60), "```"]
        return "\n".join(lines) + "\n"


def tail(log: Path, count: int) -> list[str]:
    """Return the last lines of a log."""
    return log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []


def missing_packages() -> list[str]:
    """Return the requirements of pyproject.toml and the tests that this Python does not meet."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = []
    for requirement in (*project["dependencies"], *FOR_TESTS):
        name, _, least = requirement.partition(">=")
        if name in NOT_NEEDED:
            continue
        try:
            present = version(name)
        except PackageNotFoundError:
            missing.append(f"{requirement} (not installed)")
            continue
        if numbers(present) < numbers(least):
            missing.append(f"{requirement} ({present} is installed)")
    return missing


def numbers(text: str) -> list[int]:
    """Return the numbers of a version: [2, 11, 0] for `2.11.0+cu130`."""
    return [int(part) for part in re.findall(r"\d+", text.partition("+")[0])]


def how_to_install(missing: Sequence[str]) -> str:
    """Return the message about missing packages."""
    wheels = sorted(path.name for path in ROOT.glob(".whl/*.whl"))
    carried = f"Wheels in .whl: {', '.join(wheels)}." if wheels else "No wheels in .whl."
    return (
        f"missing for Python {sys.version.split()[0]}: {'; '.join(missing)}\n{carried} "
        "docs/performance/gpu.md has the command that downloads them. To install them:\n"
        "  python3 -m pip install -q --no-index --no-deps --target /tmp/site .whl/*.whl\n"
        "  export PYTHONPATH=/tmp/site"
    )


def graphs_pay(folder: Path) -> bool:
    """Return whether the part `graphs` measured that CUDA graphs are fast enough to be used."""
    path = folder / "graphs.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    ratios = [row["ratios"] for row in rows if row["what"] == "kd, bf16, graphs"]
    return bool(ratios) and median(ratios[0]) >= GRAPHS_GAIN


@contextmanager
def usage(file: Path) -> Iterator[dict[str, float | None]]:
    """Yield a dict that gets the GPU's median utilisation (%) and peak memory (MiB) at the end."""
    result: dict[str, float | None] = {"busy": None, "memory": None}
    try:
        with file.open("w") as output:
            sampler = subprocess.Popen(SMI, stdout=output, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        file.unlink()
        yield result
        return
    try:
        yield result
    finally:
        sampler.kill()
        sampler.wait()
        with file.open() as lines:
            rows = [row for row in csv.reader(lines) if len(row) == 2 and row[0].strip().isdigit()]
        if rows:
            result["busy"] = median(float(busy) for busy, _ in rows)
            result["memory"] = max(float(memory) for _, memory in rows)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group; both have time to react to SIGTERM."""
    for number, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def run_part(
    part: Part, arguments: Sequence[str], limit_s: float, folder: Path, machine: str
) -> dict[str, Any]:
    """Run a command until it ends or its limit is reached; return its attempt."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    state = STOPPED
    start = time.monotonic()
    with (
        (folder / f"{part.name}.log").open("ab") as log,
        usage(folder / f"{part.name}.csv") as used,
    ):
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(limit_s)
            state = f"failed, exit code {code}" if code else "done"
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:
            state = INTERRUPTED
        finally:
            stop(process)
    seconds = time.monotonic() - start
    return {"state": state, "seconds": seconds, "machine": machine, **used,
            "command": shlex.join(["python", *arguments])}  # fmt: skip


def next_part(
    todo: Sequence[Part], record: Record, left_s: float, data: Path | None
) -> tuple[Part, float] | None:
    """Return the next part that fits into the time, and its limit in seconds.

    Parts that have not been tried come first. `data` is None for a check, which has no time limit.
    """
    for part in sorted(todo, key=lambda part: record.state(part) != "to do"):
        if data is None:
            return part, CHECK_LIMIT_S
        if part.resumes and not (data / "cifar-100-python" / "train").exists():
            print(f"{part.name}: no {data}/cifar-100-python; later", flush=True)
        elif left_s >= (LEAST_S if part.resumes else 60 * part.minutes):
            return part, min(left_s, 60 * part.limit)
    return None


def run_parts(
    todo: list[Part], record: Record, minutes: float, data: Path | None, machine: str
) -> bool:
    """Run parts until the time is used; return whether all of them succeeded."""
    deadline = time.monotonic() + 60 * minutes - RESERVE_S
    succeeded = True
    while chosen := next_part(todo, record, deadline - time.monotonic(), data):
        part, limit_s = chosen
        todo.remove(part)
        values = {"folder": str(record.folder), "data": str(data)}
        template = part.check if data is None else part.command
        arguments = [text.format(**values) for text in template]
        if part.resumes and data and graphs_pay(record.folder):
            arguments.append("--cuda-graphs")
        print(f"{part.name}: {shlex.join(arguments)} (at most {limit_s / 60:.1f} min)", flush=True)
        entry = run_part(part, arguments, limit_s, record.folder, machine)
        record.write(part, entry)
        print(*tail(record.folder / f"{part.name}.log", 25), sep="\n")
        print(f"{part.name}: {entry['state']}, {entry['seconds']:.0f} s\n", flush=True)
        if entry["state"] == INTERRUPTED:
            return False
        succeeded &= entry["state"] == "done" or (part.resumes and entry["state"] == STOPPED)
    return succeeded


def print_plan(all_parts: Sequence[Part], record: Record) -> None:
    """Print the parts with their states, and the expected time of all that are not done."""
    minutes = sum(part.minutes for part in all_parts if record.state(part) != "done")
    for part in all_parts:
        print(f"{part.name:10} {part.minutes:4.0f} min  {record.state(part):22} {part.title}")
    print(f"to do: about {minutes:.0f} min on a GPU; results: {record.folder}", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Print the plan, check this machine, and run what is to do."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=25.0, help="time of this call")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="states, outputs and records")
    data = Path(os.environ.get("BENCH_DATA", ROOT / "data"))
    parser.add_argument("--data", type=Path, default=data, help="holds cifar-100-python")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of parts")
    parser.add_argument("--check", action="store_true", help="small forms on the CPU")
    options = parser.parse_args(arguments)
    if missing := missing_packages():
        sys.exit(how_to_install(missing))
    import torch

    check = options.check or not torch.cuda.is_available()
    folder = options.folder.resolve() / ("check" if check else "")
    machine = "CPU" if check else torch.cuda.get_device_name(0)
    if check:
        shutil.rmtree(folder, ignore_errors=True)  # the code may have changed since an older check
    record = Record(folder)
    chosen = [part for part in parts() if not options.only or part.name in options.only]
    print_plan(chosen, record)
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {machine}"
          f"{'; no GPU, so only small forms run' if check and not options.check else ''}",
          flush=True)  # fmt: skip
    todo = [part for part in chosen if record.state(part) != "done"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: ends the part, too
    data_root = None if check else options.data.resolve()
    if not run_parts(todo, record, options.minutes, data_root, machine):
        sys.exit(1)
