"""Time RepDistiller's own training loop, the reference and ours, to check the reference.

`python -m tests.benchmarks.field CHECKOUT DATA` measures processor time. CHECKOUT is a checkout of
github.com/HobbitLong/RepDistiller, DATA the folder that contains CIFAR-100's `cifar-100-python`.
"""

import contextlib
import importlib
import io
import itertools
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torchvision import datasets

from tests.benchmarks.ours import CohortSteps
from tests.benchmarks.reference import references
from tests.benchmarks.table import Row, divide, heading, markdown
from tests.benchmarks.timing import Steps, time_subjects
from tests.benchmarks.workload import Workload

METHODS = ("kd", "crd")


class NextBatches:
    """Each iteration yields the next `count` batches of an endless loader."""

    def __init__(self, loader: Any) -> None:
        self.stream = itertools.chain.from_iterable(itertools.repeat(loader))
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self.stream, self.count)


def repdistiller_steps(load: Workload, method: str) -> Steps:
    """Return RepDistiller's `train_distill`, with its scripts' options for the method."""
    terms = load.tasks()[method].specification.method
    weights = (1, 0) if method == "kd" else (0, terms["crd"].weight)
    opt = SimpleNamespace(
        distill=method, gamma=1, alpha=weights[0], beta=weights[1], print_freq=10**6
    )
    networks = importlib.import_module("models").model_dict
    student, teacher = (networks[name](num_classes=100) for name in (load.student, load.teacher))
    loaders, zoo = (
        importlib.import_module("dataset.cifar100"),
        importlib.import_module("distiller_zoo"),
    )
    nets, distiller = nn.ModuleList([student]), zoo.DistillKL(4)
    if method == "kd":
        loader, _, _ = loaders.get_cifar100_dataloaders(64, 0, is_instance=True)
    else:
        options = terms["crd"].options
        loader, _, count = loaders.get_cifar100_dataloaders_sample(64, 0, k=options["negatives"])
        distiller = importlib.import_module("crd.criterion").CRDLoss(
            SimpleNamespace(
                s_dim=256, t_dim=256, feat_dim=options["width"], nce_k=options["negatives"],
                nce_t=options["temperature"], nce_m=options["momentum"], n_data=count,
            )
        )  # fmt: skip
        nets += [distiller.embed_s, distiller.embed_t]
    optimizer = torch.optim.SGD(nets.parameters(), 0.05, 0.9, weight_decay=5e-4)
    losses = nn.ModuleList([nn.CrossEntropyLoss(), zoo.DistillKL(4), distiller])
    nets.append(teacher)
    batches, loops = NextBatches(loader), importlib.import_module("helper.loops")

    def steps(count: int) -> None:
        batches.count = count
        with contextlib.redirect_stdout(io.StringIO()):
            loops.train_distill(1, batches, nets, losses, optimizer, opt)

    return steps


def patch_libraries(checkout: Path, data: Path) -> None:
    """Provide the library names, the GPU call and the folder that RepDistiller's code expects."""
    sys.path.insert(0, str(checkout.resolve()))
    datasets.CIFAR100.train_data = property(lambda self: self.data)
    datasets.CIFAR100.train_labels = property(lambda self: self.targets)
    if not torch.cuda.is_available():
        importlib.import_module("crd.memory").AliasMethod.cuda = lambda self: None
    folder = Path(tempfile.mkdtemp())
    (folder / "data").symlink_to(data.resolve())
    os.chdir(folder)


def main() -> None:
    """Print a table of RepDistiller's loop, the reference and ours."""
    load = Workload(threads=1, workers=0, clock="processor")
    torch.set_num_threads(load.threads)
    warnings.simplefilter("ignore")
    patch_libraries(*map(Path, sys.argv[1:]))
    with contextlib.redirect_stdout(io.StringIO()):
        subjects: dict[str, Steps] = {
            f"{name}, RepDistiller": repdistiller_steps(load, name) for name in METHODS
        }
    runs = references(load, METHODS, load.workers)
    subjects |= {f"{name}, reference": run for name, run in runs.items()}
    subjects |= {f"{name}, ours": CohortSteps(load, [name]) for name in METHODS}
    times = time_subjects(subjects, load)
    rows = [
        Row("fairness", what, times[what], "ms", "RepDistiller / this",
            divide(times[f"{what.partition(', ')[0]}, RepDistiller"], times[what]))
        for what in sorted(times)
    ]  # fmt: skip
    print(heading(load), markdown(rows), sep="\n\n")


if __name__ == "__main__":
    main()
