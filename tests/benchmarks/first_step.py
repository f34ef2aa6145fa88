"""A worker that exits with code 0 after its first student's first step."""

import os
from typing import Any

from bench.execution import worker
from bench.training.trainer import Learner

step = Learner.step


def step_and_exit(learner: Learner, *arguments: Any) -> None:
    step(learner, *arguments)
    os._exit(0)


if __name__ == "__main__":
    Learner.step = step_and_exit  # type: ignore[method-assign]
    worker.main()
