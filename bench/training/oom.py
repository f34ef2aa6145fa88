"""Out-of-memory errors: how to recognise and describe them."""

import re
from contextlib import suppress
from pathlib import Path

import torch

MESSAGES = (  # of torch and its libraries
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
)
REQUEST = re.compile(r"tried to allocate (\d+ bytes|[\d.]+ \wiB)", re.I)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the device or the machine ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in MESSAGES)


def describe_oom(error: Exception, device: torch.device) -> str:
    """Describe an out-of-memory error for people.

    Args:
        error: An error for which `is_out_of_memory` is true.
        device: The device of the job.

    Returns:
        `out of memory on cuda:0, 2.00 GiB more were needed, 0.31 GiB of 79.11 GiB were free`;
        a part that is not known is left out.
    """
    parts = [f"out of memory on {device}"]
    if request := REQUEST.search(str(error)):
        size = request[1]
        needed = _gib(int(size.split()[0])) if size.endswith("bytes") else size
        parts.append(f"{needed} more were needed")
    with suppress(OSError):  # some systems have no /proc
        free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else _host_memory()
        parts.append(f"{_gib(free)} of {_gib(total)} were free")
    return ", ".join(parts)


def _host_memory() -> tuple[int, int]:
    """Return free and total bytes: of this process's limit or of the machine."""
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
