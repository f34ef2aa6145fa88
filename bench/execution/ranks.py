"""The processes that train one run over several devices: the worker is the first, and starts them.

They meet through a file in a folder of their own, and talk on this machine alone. A rank that ends
before its time ends its worker, which tells why; when the worker ends, so do the ranks.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from bench.data import Share
from bench.execution.protocol import Emit, Job
from bench.execution.scratch import scratch

TIMEOUT = timedelta(minutes=30)
GRACE = 3.0  # seconds in which an error of one rank may turn out to be that of another, or of all


@contextmanager
def led(job: Job, emit: Emit) -> Iterator[Share]:
    """Inside, the other ranks of a job are there, and this process is the first; or it is alone."""
    if len(job.devices) == 1 or job.tasks[0].checkpoint is not None:
        yield Share()
        return
    with scratch() as folder:
        others = [Other(job, rank, folder, emit) for rank in range(1, len(job.devices))]
        try:
            yield join(job, 0, folder)
        except Exception:
            time.sleep(GRACE)  # what another rank died of is told by whoever watches it
            raise
        finally:
            for other in others:
                other.end()


def join(job: Job, rank: int, folder: Path) -> Share:
    """Make this process one of the ranks of a job, which meet in a folder."""
    device, ranks = torch.device(job.devices[rank]), len(job.devices)
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", loopback)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.FileStore(str(folder / "store"), ranks),  # type: ignore[attr-defined]
        rank=rank,
        world_size=ranks,
        timeout=TIMEOUT,
    )
    return Share(rank, ranks)


class Other:
    """Another rank, as its worker sees it."""

    def __init__(self, job: Job, rank: int, folder: Path, emit: Emit) -> None:
        self.name, self._folder, self._emit = f"rank {rank} on {job.devices[rank]}", folder, emit
        self._expected = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.execution.worker", str(rank), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None
        self._process.stdin.write(job.to_json() + "\n")
        self._process.stdin.flush()
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """End it, now that all is done."""
        self._expected = True
        self._process.kill()
        self._process.wait()

    def _watch(self) -> None:
        """When the rank ends before its time, hand on its last word, and end this process."""
        assert self._process.stdout is not None
        said = [json.loads(line) for line in self._process.stdout]
        code = self._process.wait()
        if self._expected:
            return
        reason = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        for event in said:
            if event["event"] == "split":
                self._emit(event)
            else:
                reason = event["reason"]
        print(f"{self.name} ended: {reason}", file=sys.stderr, flush=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(1)
