"""A cohort, from its job to its records.

`python -m bench.execution.worker` reads a job from standard input.

With a rank and a folder as arguments it is one more of those that train the job's runs together.

A worker writes weights and the state of runs under way. Records it hands to its parent, as events.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import torch

from bench.errors import BenchError
from bench.execution import ranks
from bench.execution.desk import Beside, Desk
from bench.execution.protocol import Emit, Event, Job
from bench.results import Unwritable
from bench.training.cuda_graphs import Unrecordable
from bench.training.oom import exhausted, shortage


def work(job: Job, emit: Emit) -> None:
    """Do a job: every task ends in one `record` event, whatever happens to the others.

    Unless memory is not enough for all, a step cannot be recorded, or the results cannot be
    written: then that is the last event, and what has no record goes on from its state another
    time.
    """
    prepare(job)
    with ranks.led(job, emit) as share:
        _work(Desk(job, emit, share), emit)


def _work(desk: Desk, emit: Emit) -> None:
    job = desk.job
    try:
        if job.tasks[0].checkpoint is not None:
            desk.adopt(job.tasks[0])
        else:
            desk.train(job.tasks)
    except Unrecordable as error:
        emit({"event": "split", "reason": str(error)})
    except Unwritable as error:
        emit({"event": "unwritable", "reason": str(error)})
    except BenchError as error:
        for task in job.tasks:
            desk.report(task, "failed", str(error))
    except Exception as error:
        if not exhausted(error):
            raise
        emit({"event": "split", "reason": shortage(error, desk.device)})


def work_along(job: Job, rank: int, folder: Path, emit: Emit) -> None:
    """Train the runs of a job as another rank than the first; what it cannot do, it says."""
    prepare(job, rank)
    try:
        share = ranks.join(job, rank, folder)
        Beside(job, lambda event: None, share).train(job.tasks)
    except Exception as error:
        lack = exhausted(error)
        said = shortage(error, torch.device(job.devices[rank])) if lack else None
        reason = said or f"{type(error).__name__}: {error}"
        emit({"event": "split" if lack else "exit", "reason": reason})
        time.sleep(ranks.GRACE)  # the first rank may have come upon the same, and tells it
        raise
    threading.Event().wait()  # the first rank ends it: what it still reads may lie here


def prepare(job: Job, rank: int = 0) -> None:
    """Settings of this process: its GPU, threads, and float32 as it is stated."""
    device = torch.device(job.devices[rank])
    if device.index is not None:
        torch.cuda.set_device(device)  # else streams, events and recordings are the first one's
    torch.set_num_threads(job.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = all(
        task.specification["recipe"]["precision"] == "tf32" for task in job.tasks
    )


def main() -> None:
    """Do the job on standard input's first line; end when the parent does."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", closefd=False)  # open until our very end
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the events
    job = Job.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    speaking = threading.Lock()

    def emit(event: Event) -> None:
        with speaking:
            channel.write(json.dumps(event, allow_nan=False) + "\n")
            channel.flush()

    if sys.argv[1:]:
        rank, folder = sys.argv[1:]
        work_along(job, int(rank), Path(folder), emit)
    else:
        work(job, emit)


def _end_with_parent() -> None:
    """The parent holds the other end of our input: when it closes, so do we."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
