"""Describe a run's machine: software, hardware, peak memory and out-of-memory errors."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIT_TIMEOUT_S = 10
OOM_MESSAGES = re.compile(  # messages of torch and its libraries
    "can't allocate memory|not enough memory|CUDA error: out of memory|ALLOC_FAILED"
)
OOM_REQUEST = re.compile(r"tried to allocate (\d+ bytes|[\d.]+ \wiB)", re.I)


def environment(
    device: torch.device, precision: str, graphs: bool = False
) -> dict[str, str | int | bool | None]:
    """Return a description of this process and its machine, for a record.

    Args:
        device: Device of the training.
        precision: `float32`, `tf32` or `bf16`.
        graphs: Whether steps are captured as CUDA graphs.

    Returns:
        Versions of packages, git commit, device, system, threads and the arguments, by name.
    """
    import torch

    return {
        "bench": _version("distillbench"),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": _version("torchvision"),
        "timm": _version("timm"),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": device_name(device),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "cuda_graphs": graphs,
    }


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or `CPU` and the name of the processor."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU {_processor()}"


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: on the GPU, or of this process if the device is a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists() and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(peak[1]) * 1024
    import resource  # not on Windows

    # This value includes the memory of the parent process at the time of the fork.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the device or the machine ran out of memory."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and OOM_MESSAGES.search(str(error)) is not None


def describe_oom(error: Exception, device: torch.device) -> str:
    """Return a readable description of an out-of-memory error.

    Args:
        error: An error for which `is_out_of_memory` is true.
        device: The device of the job.

    Returns:
        `out of memory on cuda:0, 2.00 GiB more were needed, 0.31 GiB of 79.11 GiB were free`;
        unknown parts are omitted.
    """
    import torch

    parts = [f"out of memory on {device}"]
    if request := OOM_REQUEST.search(str(error)):
        size = request[1]
        needed = _gib(int(size.split()[0])) if size.endswith("bytes") else size
        parts.append(f"{needed} more were needed")
    with suppress(OSError):  # some systems have no /proc
        free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else _host_memory()
        parts.append(f"{_gib(free)} of {_gib(total)} were free")
    return ", ".join(parts)


def _host_memory() -> tuple[int, int]:
    """Return free and total bytes of the machine.

    If a limit leaves this process fewer bytes than are free, return these bytes and the limit.
    """
    import resource  # not on Windows

    rows = (line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines())
    sizes = {name: int(size.split()[0]) * 1024 for name, _, size in rows}
    free, total = sizes["MemAvailable"], sizes["MemTotal"]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit != resource.RLIM_INFINITY and limit - used < free:
        return max(0, limit - used), limit
    return free, total


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def commit() -> str | None:
    """Return the git commit of this source tree, with `+` if tracked files are changed.

    Outside a git repository, return the environment variable BENCH_COMMIT; None if unknown.
    """
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return os.environ.get("BENCH_COMMIT")
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    with suppress(OSError, subprocess.SubprocessError):
        output = subprocess.check_output(
            command, cwd=folder, stderr=subprocess.DEVNULL, text=True, timeout=GIT_TIMEOUT_S
        )
        return output.strip()
    return None


@cache
def _processor() -> str:
    with suppress(OSError):
        models = re.findall(r"^model name\s*: *(.*)", Path("/proc/cpuinfo").read_text(), re.M)
        if models:
            return f"{models[0].strip()}, {len(models)} cores"
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None
