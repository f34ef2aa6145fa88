"""Part about the machine: how fast it multiplies at best, and how near to that networks come."""

import torch

from bench import models
from tests.benchmarks.ours import Bare
from tests.benchmarks.rounds import interleaved
from tests.benchmarks.table import Row, over
from tests.benchmarks.workload import Workload

SIDE = 2048  # of square matrices, which libraries multiply as fast as anything
KINDS = {"float32": torch.float32, "bf16": torch.bfloat16}


def ceiling(load: Workload) -> list[Row]:
    """Billions of multiplications and additions a second: of matrices, and of the networks.

    A student's step counts three times its forward pass.
    """
    facts = load.data.facts
    batch = load.tasks()[load.chosen[0]].specification["recipe"]["batch_size"]
    work = {
        who: 2
        * batch
        * times
        * models.cost(models.build(net, facts.classes), facts.size).multiply_adds
        for who, net, times in (("teacher", load.teacher, 1), ("student", load.student, 3))
    }
    subjects, amount = {}, {}
    for name, kind in KINDS.items():
        bare = Bare(load, f"recipe.precision={name}")
        sides = torch.randn(2, SIDE, SIDE, device=load.device).to(kind)

        def product(count: int, sides: torch.Tensor = sides) -> None:
            for _ in range(count):
                torch.mm(*sides)

        subjects |= {f"matrices, {name}": product, f"bare teacher, forward, {name}": bare.teacher}
        subjects |= {f"bare student, step, {name}": bare.student}
        amount |= {f"matrices, {name}": 2 * SIDE**3}
        amount |= {f"bare teacher, forward, {name}": work["teacher"]}
        amount |= {f"bare student, step, {name}": work["student"]}
    found = interleaved(subjects, load)
    speed = {what: [amount[what] / ms / 1e6 for ms in found[what]] for what in found}
    return [
        Row("ceiling", what, speed[what], "GFLOP/s", "it / matrices",
            over(speed[what], speed[f"matrices, {what.rpartition(', ')[2]}"]))
        for what in speed
    ]  # fmt: skip
