"""`python -m tests.execution.arithmetic`: the estimated cost of the complete CIFAR-100 study."""

import tempfile
from pathlib import Path

from bench import data, models
from bench.planning import estimate
from bench.planning.cohorts import cohorts
from tests.execution.simulated import suite

EXA, MEGA, GIGA = 1e18, 1e6, 1e9
IMAGENET = 1_281_167, 90, "torchvision:resnet34", "torchvision:resnet18"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = suite(Path(folder), seeds=5, epochs=240)
    estimates, images = estimate.estimate(plan), data.facts(plan.suite.data).train
    work = {run.id: estimates[run.id].work(run, images) for run in plan.runs.values()}
    students = [run for run in plan.runs.values() if run.teacher]
    groups = [group for group in cohorts(students) if group.teacher]
    passes = {run.id: work[run.teacher] / 3 for run in students if run.teacher}
    teachers = sum(work[run.id] for run in plan.runs.values() if run.kind == "teacher")
    training = sum(work[run.id] for run in students)
    shared = sum(passes[group.runs[0].id] for group in groups)
    networks = {run: estimates[run].network for run in plan.runs}
    sizes = {run: 4 * cost.parameters for run, cost in networks.items() if cost}
    memory = [
        sum(2 * sizes[run.id] + estimates[run.id].memory for run in group.runs) for group in groups
    ]
    chain = max(
        work[run.teacher] + passes[run.id] + work[run.id] for run in students if run.teacher
    )
    print(
        f"{len(plan.runs) - len(students)} teachers, {len(students)} students, "
        f"{len(groups)} cohorts of at most {max(len(group.runs) for group in groups)}"
    )
    print(
        f"multiply-adds: teachers {teachers / EXA:.3f}, students {training / EXA:.3f}, "
        f"teachers' passes {shared / EXA:.3f} (one run at a time: "
        f"{sum(passes.values()) / EXA:.3f}) x 10^18; longest chain {chain / EXA:.4f} x 10^18"
    )
    print(
        f"weights {sum(sizes.values()) / GIGA:.1f} GB; weights, momentum and banks of the largest "
        f"cohort {max(memory) / MEGA:.0f} MB"
    )
    images, epochs, teacher, student = IMAGENET
    cost = {name: models.cost(models.build(name, 1000, 224), 224) for name in (teacher, student)}
    total = images * epochs
    print(
        f"ImageNet, {teacher} to {student}, {epochs} epochs: a student "
        f"{3 * total * cost[student].multiply_adds / EXA:.3f}, the teacher's passes "
        f"{total * cost[teacher].multiply_adds / EXA:.3f} x 10^18"
    )


if __name__ == "__main__":
    main()
