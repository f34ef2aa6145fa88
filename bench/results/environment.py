"""Where and with what a run was made: goes into its record, never into its identity."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def environment(
    device: torch.device, precision: str, devices: int = 1, graphs: bool = False
) -> dict[str, Any]:
    """Versions, device, precision, threads and commit of this process, one of so many devices."""
    name = device_name(device)
    return {
        "bench": _version("distillbench"),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": _version("torchvision"),
        "timm": _version("timm"),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": f"{devices} x {name}" if devices > 1 else name,
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "cuda_graphs": graphs,
    }


def device_name(device: torch.device) -> str:
    """The name of the accelerator, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {_processor()}"


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: on the accelerator, or by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if told := re.search(r"VmHWM:\s+(\d+) kB", _status()):
        return int(told[1]) * 1024
    import resource  # not on Windows

    # A child starts with what its parent's memory came to: the most of either, then.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status() -> str:
    """What Linux tells of this process; empty elsewhere."""
    path = Path("/proc/self/status")
    return path.read_text() if path.exists() else ""


def now() -> str:
    """The time, UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def commit() -> str | None:
    """The git commit of the source tree that holds this package, `+` if it has been changed."""
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return os.environ.get("BENCH_COMMIT")
    head = _git(folder, "rev-parse", "HEAD")
    return f"{head}+" if head and _git(folder, "status", "--porcelain", "-uno") else head


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        ran = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{named[0]}, {len(named)} cores" if named else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
