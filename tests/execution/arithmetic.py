"""`python -m tests.execution.arithmetic`: what the whole CIFAR-100 study takes, by estimates."""

import tempfile
from pathlib import Path

from bench import data, models
from bench.planning import estimate
from bench.planning.plan import cohorts
from tests.execution.simulated import suite

EXA, MEGA, GIGA = 1e18, 1e6, 1e9
IMAGENET = 1_281_167, 90, "torchvision:resnet34", "torchvision:resnet18"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = suite(Path(folder), seeds=5, epochs=240)
    found, images = estimate.estimate(whole), data.facts(whole.suite.data).train
    work = {run.id: found[run.id].work(run, images) for run in whole.runs.values()}
    students = [run for run in whole.runs.values() if run.teacher]
    groups = [group for group in cohorts(students) if group.teacher]
    passes = {run.id: work[run.teacher] / 3 for run in students if run.teacher}
    taught = sum(work[run.id] for run in whole.runs.values() if run.kind == "teacher")
    learned, shared = (
        sum(work[run.id] for run in students),
        sum(passes[g.runs[0].id] for g in groups),
    )
    networks = {run.id: found[run.id].network for run in whole.runs.values()}
    sizes = {run: 4 * cost.parameters for run, cost in networks.items() if cost}
    held = [sum(2 * sizes[r.id] + found[r.id].memory for r in group.runs) for group in groups]
    chain = max(
        work[run.teacher] + passes[run.id] + work[run.id] for run in students if run.teacher
    )
    print(
        f"{len(whole.runs) - len(students)} teachers, {len(students)} students, "
        f"{len(groups)} cohorts of at most {max(len(group.runs) for group in groups)}"
    )
    print(
        f"multiply-adds: teachers {taught / EXA:.3f}, students {learned / EXA:.3f}, "
        f"teachers' passes {shared / EXA:.3f} (one run at a time: "
        f"{sum(passes.values()) / EXA:.3f}) x 10^18; longest chain {chain / EXA:.4f} x 10^18"
    )
    print(
        f"weights {sum(sizes.values()) / GIGA:.1f} GB; weights, momentum and banks of the largest "
        f"cohort {max(held) / MEGA:.0f} MB"
    )
    images, epochs, teacher, student = IMAGENET
    net = {name: models.cost(models.build(name, 1000, 224), 224) for name in (teacher, student)}
    each = images * epochs
    print(
        f"ImageNet, {teacher} to {student}, {epochs} epochs: a student "
        f"{3 * each * net[student].multiply_adds / EXA:.3f}, the teacher's passes "
        f"{each * net[teacher].multiply_adds / EXA:.3f} x 10^18"
    )


if __name__ == "__main__":
    main()
