"""Part `ceiling`: the speed of a matrix product, and of the networks in comparison."""

import torch

from bench import models
from tests.benchmarks.ours import BareNetworks
from tests.benchmarks.table import Row, divide
from tests.benchmarks.timing import time_subjects
from tests.benchmarks.workload import Workload

SIDE = 2048  # of square matrices; libraries multiply this size at full speed
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def ceiling(load: Workload) -> list[Row]:
    """Measure GFLOP/s of a matrix product and of the networks; an add or multiply is one FLOP.

    A student's step counts as three forward passes.
    """
    facts = load.data.facts
    batch = load.tasks()[load.selected[0]].specification.recipe.batch_size
    flops_per_step = {
        role: 2
        * batch
        * times
        * models.cost(models.build(network, facts.classes), facts.size).multiply_adds
        for role, network, times in (("teacher", load.teacher, 1), ("student", load.student, 3))
    }
    subjects, flops = {}, {}
    for name, dtype in DTYPES.items():
        bare = BareNetworks(load, f"recipe.precision={name}")
        matrices = torch.randn(2, SIDE, SIDE, device=load.device).to(dtype)

        def product(count: int, matrices: torch.Tensor = matrices) -> None:
            for _ in range(count):
                torch.mm(*matrices)

        subjects |= {f"matrices, {name}": product, f"bare teacher, forward, {name}": bare.teacher}
        subjects |= {f"bare student, step, {name}": bare.student}
        flops |= {f"matrices, {name}": 2 * SIDE**3}
        flops |= {f"bare teacher, forward, {name}": flops_per_step["teacher"]}
        flops |= {f"bare student, step, {name}": flops_per_step["student"]}
    times = time_subjects(subjects, load)
    speed = {what: [flops[what] / ms / 1e6 for ms in times[what]] for what in times}
    return [
        Row("ceiling", what, speed[what], "GFLOP/s", "this / matrices",
            divide(speed[what], speed[f"matrices, {what.rpartition(', ')[2]}"]))
        for what in speed
    ]  # fmt: skip
