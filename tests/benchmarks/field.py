"""RepDistiller's own training loop beside the reference and ours: whether the reference is fair.

`python -m tests.benchmarks.field CHECKOUT DATA`: a checkout of github.com/HobbitLong/RepDistiller,
of which nothing is kept here, and the folder of CIFAR-100's `cifar-100-python`. Processor time.
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

from tests.benchmarks.ours import Cohort
from tests.benchmarks.reference import references
from tests.benchmarks.rounds import Steps, interleaved
from tests.benchmarks.table import Row, heading, markdown, over
from tests.benchmarks.workload import Workload

METHODS = ("kd", "crd")


class Some:
    """The next few batches of a loader, each time that it is gone through."""

    def __init__(self, loader: Any) -> None:
        self.stream = itertools.chain.from_iterable(itertools.repeat(loader))
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self.stream, self.count)


def theirs(load: Workload, method: str) -> Steps:
    """Their `train_distill`, with the options of their scripts for the method."""
    terms = load.tasks()[method].specification["method"]
    weights = (1, 0) if method == "kd" else (0, terms["crd"]["weight"])
    opt = SimpleNamespace(
        distill=method, gamma=1, alpha=weights[0], beta=weights[1], print_freq=10**6
    )
    made = importlib.import_module("models").model_dict
    student, teacher = (made[name](num_classes=100) for name in (load.student, load.teacher))
    loaders, zoo = (
        importlib.import_module("dataset.cifar100"),
        importlib.import_module("distiller_zoo"),
    )
    nets, distiller = nn.ModuleList([student]), zoo.DistillKL(4)
    if method == "kd":
        loader, _, _ = loaders.get_cifar100_dataloaders(64, 0, is_instance=True)
    else:
        of = terms["crd"]["options"]
        loader, _, count = loaders.get_cifar100_dataloaders_sample(64, 0, k=of["negatives"])
        distiller = importlib.import_module("crd.criterion").CRDLoss(
            SimpleNamespace(
                s_dim=256, t_dim=256, feat_dim=of["width"], nce_k=of["negatives"],
                nce_t=of["temperature"], nce_m=of["momentum"], n_data=count,
            )
        )  # fmt: skip
        nets += [distiller.embed_s, distiller.embed_t]
    optimizer = torch.optim.SGD(nets.parameters(), 0.05, 0.9, weight_decay=5e-4)
    losses = nn.ModuleList([nn.CrossEntropyLoss(), zoo.DistillKL(4), distiller])
    nets.append(teacher)
    batches, loops = Some(loader), importlib.import_module("helper.loops")

    def steps(count: int) -> None:
        batches.count = count
        with contextlib.redirect_stdout(io.StringIO()):
            loops.train_distill(1, batches, nets, losses, optimizer, opt)

    return steps


def old_ways(checkout: Path, data: Path) -> None:
    """What their code of 2019 expects of libraries, of a GPU and of the folder it stands in."""
    sys.path.insert(0, str(checkout.resolve()))
    datasets.CIFAR100.train_data = property(lambda self: self.data)
    datasets.CIFAR100.train_labels = property(lambda self: self.targets)
    if not torch.cuda.is_available():
        importlib.import_module("crd.memory").AliasMethod.cuda = lambda self: None
    place = Path(tempfile.mkdtemp())
    (place / "data").symlink_to(data.resolve())
    os.chdir(place)


def main() -> None:
    """Print a table of their loop, the reference and ours."""
    load = Workload(threads=1, workers=0, clock="processor")
    torch.set_num_threads(load.threads)
    warnings.simplefilter("ignore")
    old_ways(*map(Path, sys.argv[1:]))
    with contextlib.redirect_stdout(io.StringIO()):
        subjects: dict[str, Steps] = {f"{one}, RepDistiller": theirs(load, one) for one in METHODS}
    singles = references(load, METHODS, load.workers)
    subjects |= {f"{name}, reference": made for name, made in singles.items()}
    subjects |= {f"{name}, ours": Cohort(load, [name]) for name in METHODS}
    found = interleaved(subjects, load)
    rows = [
        Row("field", what, found[what], "ms", "RepDistiller / it",
            over(found[f"{what.partition(', ')[0]}, RepDistiller"], found[what]))
        for what in sorted(found)
    ]  # fmt: skip
    print(heading(load), markdown(rows), sep="\n\n")


if __name__ == "__main__":
    main()
