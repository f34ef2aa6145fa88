"""The way of the field: one run at a time, images one by one, the banks' rows gathered.

The networks, and all losses but those with a memory bank, are ours: they are not what is slow.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import distillers
from bench import models, seeding
from bench.data import Resident, Split
from bench.execution.protocol import Task
from distillers import Batch, Features, Setting
from tests.benchmarks.workload import Workload


class Pictures(Dataset[tuple[Any, ...]]):
    """A split's images, each made a PIL image and varied by torchvision when it is asked for."""

    def __init__(self, subject: Resident, split: Split) -> None:
        images, labels = subject.splits[split]
        self.images, self.labels = images.cpu().numpy(), labels.cpu().numpy()
        varied = [
            transforms.RandomCrop(subject.facts.size, padding=4),
            transforms.RandomHorizontalFlip(),
        ]
        self.transform = transforms.Compose(
            [
                *(varied if split == "train" else ()),
                transforms.ToTensor(),
                transforms.Normalize(subject.facts.mean, subject.facts.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Any, ...]:
        image = self.transform(Image.fromarray(self.images[place]))
        return image, int(self.labels[place]), place


class Contrasted(Pictures):
    """Each image with the places of `negatives` images of other classes, drawn by numpy."""

    def __init__(self, subject: Resident, negatives: int) -> None:
        super().__init__(subject, "train")
        classes = range(subject.facts.classes)
        self.others = [np.flatnonzero(self.labels != one) for one in classes]
        self.negatives = negatives

    def __getitem__(self, place: int) -> tuple[Any, ...]:
        image, label, _ = super().__getitem__(place)
        drawn = np.random.choice(self.others[label], self.negatives, replace=False)
        return image, label, place, np.concatenate([[place], drawn])


def batches(
    pictures: Pictures, size: int, workers: int, *, shuffle: bool
) -> DataLoader[tuple[Any, ...]]:
    return DataLoader(pictures, size, shuffle=shuffle, num_workers=workers)


@dataclass(frozen=True)
class Drawn(Batch):
    """A batch with the rows of the banks that its samples meet."""

    rows: Tensor | None = None  # (B, 1+M)


class ByRows(nn.Module):
    """CRD's loss from gathered rows: (B, 1+M, width) numbers for either direction."""

    def __init__(self, setting: Setting, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.samples, width = len(setting.train_labels), options["width"]
        self.temperature, self.momentum = options["temperature"], options["momentum"]
        self.embed_s = nn.Linear(setting.student.pooled, width)
        self.embed_t = nn.Linear(setting.teacher.pooled, width)
        bound = (3 / width) ** 0.5
        for bank in ("bank_s", "bank_t"):
            self.register_buffer(bank, torch.empty(self.samples, width).uniform_(-bound, bound))
        self.z: dict[str, float] = {}

    def forward(self, student: Features, teacher: Features, batch: Drawn) -> Tensor:
        u = F.normalize(self.embed_s(student.pooled), dim=1)
        v = F.normalize(self.embed_t(teacher.pooled), dim=1)
        loss = self.contrast(u, "bank_t", batch) + self.contrast(v, "bank_s", batch)
        with torch.no_grad():
            for bank, embedding in ((self.bank_s, u), (self.bank_t, v)):
                rows = bank.index_select(0, batch.index)
                rows = self.momentum * rows + (1 - self.momentum) * embedding
                bank.index_copy_(0, batch.index, F.normalize(rows, dim=1))
        return loss

    def contrast(self, anchor: Tensor, name: str, batch: Drawn) -> Tensor:
        """-mean_i [log h_i0 + Σ_k log(1 - h_ik)], h = p / (p + M / N), p = exp(<a, m> / τ) / Z."""
        bank, rows = self.get_buffer(name), batch.rows
        chosen = bank.index_select(0, rows.flatten()).view(*rows.shape, -1)
        p = (torch.bmm(chosen, anchor[:, :, None])[:, :, 0] / self.temperature).exp()
        if name not in self.z:
            self.z[name] = p.mean().item() * self.samples
        p = p / self.z[name]
        noise = (rows.shape[1] - 1) / self.samples
        true = (p[:, 0] / (p[:, 0] + noise)).log()
        false = (noise / (p[:, 1:] + noise)).log()
        return -(true.sum() + false.sum()) / len(rows)


class Matched(nn.Module):
    """WCoRD's loss: its global part costs what CRD's does, its local part is ours."""

    def __init__(self, setting: Setting, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.weight = options["global_weight"]
        self.contrast = ByRows(setting, options)
        local = {**options, "global_weight": 0.0}
        self.matching = distillers.load("wcord")(setting, **local)

    def forward(self, student: Features, teacher: Features, batch: Drawn) -> Tensor:
        contrast: Tensor = self.contrast(student, teacher, batch)
        return self.weight * contrast + self.matching(student, teacher, batch)


GATHERED = {"crd": ByRows, "wcord": Matched}


class Reference:
    """One method's run: called with n, it trains on the next n batches of its loader."""

    def __init__(self, load: Workload, task: Task, stream: Iterator[Any]) -> None:
        of, self.device, self.stream = task.specification, load.device, stream
        facts = load.data.facts
        self.student = models.build(of["network"], facts.classes).to(self.device).train()
        teacher = models.build(load.teacher, facts.classes).to(self.device).eval()
        self.terms = nn.ModuleDict()
        self.weights = {name: term["weight"] for name, term in of["method"].items()}
        self.teacher = teacher if set(self.weights) != {"ce"} else None
        shapes = [models.shapes(net, facts.size) for net in (self.student, teacher)]
        rng = seeding.generator(self.device, "reference")
        setting = Setting(*shapes, load.data.train_labels, rng)
        for name, term in of["method"].items():
            made = GATHERED[name](setting, term["options"]) if name in GATHERED else None
            self.terms[name] = made or distillers.load(name)(setting, **term["options"])
        self.terms.to(self.device)
        recipe = of["recipe"]
        trained = [*self.student.parameters(), *self.terms.parameters()]
        self.optimizer = torch.optim.SGD(
            trained, recipe["lr"], recipe["momentum"], weight_decay=recipe["weight_decay"]
        )

    def __call__(self, count: int) -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            for held in itertools.islice(self.stream, count):
                images, *rest = (part.to(self.device) for part in held)
                self.step(images, Drawn(*rest))

    def step(self, images: Tensor, batch: Drawn) -> None:
        seen = self.student(images)
        with torch.no_grad():
            taught = self.teacher(images) if self.teacher else seen
        losses = [self.weights[n] * term(seen, taught, batch) for n, term in self.terms.items()]
        total = sum(losses[1:], losses[0])
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        told(total, seen.logits, batch.labels)


def told(loss: Tensor, logits: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """What is printed as training goes: each batch is waited for."""
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return loss.item(), hits[:, 0].float().mean().item(), hits.any(1).float().mean().item()


def references(load: Workload, methods: Sequence[str], workers: int) -> dict[str, Reference]:
    """One for each method; those that draw alike share a loader, since one runs at a time."""
    streams: dict[int, Iterator[Any]] = {}
    tasks, made = load.tasks(), {}
    for name in methods:
        task, terms = tasks[name], tasks[name].specification["method"]
        gathered = [terms[one]["options"]["negatives"] for one in GATHERED if one in terms]
        negatives = gathered[0] if gathered else 0
        if negatives not in streams:
            pictures = (
                Contrasted(load.data, negatives) if gathered else Pictures(load.data, "train")
            )
            size = task.specification["recipe"]["batch_size"]
            again = itertools.repeat(batches(pictures, size, workers, shuffle=True))
            streams[negatives] = itertools.chain.from_iterable(again)
        made[name] = Reference(load, task, streams[negatives])
    return made
