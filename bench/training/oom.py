"""Lack of memory: how it is recognised, and what is said of it."""

import re
from contextlib import suppress
from pathlib import Path

import torch

SAID = (  # by torch and its libraries
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
)
ASKED = re.compile(r"tried to allocate (\d+ bytes|[\d.]+ \wiB)", re.I)


def exhausted(error: Exception) -> bool:
    """Whether an error says that memory, the device's or the machine's, was not enough."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in SAID)


def shortage(error: Exception, device: torch.device) -> str:
    """`out of memory on cuda:0, 2.00 GiB more were needed, 0.31 GiB of 79.11 GiB were free`."""
    said = [f"out of memory on {device}"]
    if asked := ASKED.search(str(error)):
        said.append(f"{_size(asked[1])} more were needed")
    with suppress(OSError):  # not every system tells
        free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else _machine()
        said.append(f"{_gib(free)} of {_gib(total)} were free")
    return ", ".join(said)


def _machine() -> tuple[int, int]:
    """Bytes that this process can still have, and of how many: its limit's, or the machine's."""
    import resource  # not on Windows

    lines = Path("/proc/meminfo").read_text().splitlines()
    held = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (s.partition(":") for s in lines)
    }
    free, total = held["MemAvailable"], held["MemTotal"]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit != resource.RLIM_INFINITY and limit - used < free:
        return max(0, limit - used), limit
    return free, total


def _size(asked: str) -> str:
    return _gib(int(asked.split()[0])) if asked.endswith("bytes") else asked


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
