"""The field's way: one run at a time, images one by one, and gathered rows of the memory banks.

The networks, and all losses without a memory bank, are ours: they cost the same either way.
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


class PILImages(Dataset[tuple[Any, ...]]):
    """A split's images; each access makes a PIL image and augments it with torchvision."""

    def __init__(self, dataset: Resident, split: Split) -> None:
        images, labels = dataset.splits[split]
        self.images, self.labels = images.cpu().numpy(), labels.cpu().numpy()
        augmentation = [
            transforms.RandomCrop(dataset.facts.size, padding=4),
            transforms.RandomHorizontalFlip(),
        ]
        self.transform = transforms.Compose(
            [
                *(augmentation if split == "train" else ()),
                transforms.ToTensor(),
                transforms.Normalize(dataset.facts.mean, dataset.facts.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image = self.transform(Image.fromarray(self.images[index]))
        return image, int(self.labels[index]), index


class PILImagesWithNegatives(PILImages):
    """Each image with the indices of `negatives` images of other classes, drawn by numpy."""

    def __init__(self, dataset: Resident, negatives: int) -> None:
        super().__init__(dataset, "train")
        classes = range(dataset.facts.classes)
        self.other_classes = [np.flatnonzero(self.labels != label) for label in classes]
        self.negatives = negatives

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, label, _ = super().__getitem__(index)
        drawn = np.random.choice(self.other_classes[label], self.negatives, replace=False)
        return image, label, index, np.concatenate([[index], drawn])


def batches(
    images: PILImages, size: int, workers: int, *, shuffle: bool
) -> DataLoader[tuple[Any, ...]]:
    return DataLoader(images, size, shuffle=shuffle, num_workers=workers)


@dataclass(frozen=True)
class BatchWithRows(Batch):
    """A batch with the bank rows of each sample: its own, then its negatives'."""

    rows: Tensor | None = None  # (B, 1+M)


class GatheredCRD(nn.Module):
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

    def forward(self, student: Features, teacher: Features, batch: BatchWithRows) -> Tensor:
        u = F.normalize(self.embed_s(student.pooled), dim=1)
        v = F.normalize(self.embed_t(teacher.pooled), dim=1)
        loss = self.contrast(u, "bank_t", batch) + self.contrast(v, "bank_s", batch)
        with torch.no_grad():
            for bank, embedding in ((self.bank_s, u), (self.bank_t, v)):
                rows = bank.index_select(0, batch.index)
                rows = self.momentum * rows + (1 - self.momentum) * embedding
                bank.index_copy_(0, batch.index, F.normalize(rows, dim=1))
        return loss

    def contrast(self, anchor: Tensor, name: str, batch: BatchWithRows) -> Tensor:
        """-mean_i [log h_i0 + Σ_k log(1 - h_ik)], h = p / (p + M / N), p = exp(<a, m> / τ) / Z."""
        bank, rows = self.get_buffer(name), batch.rows
        gathered = bank.index_select(0, rows.flatten()).view(*rows.shape, -1)
        p = (torch.bmm(gathered, anchor[:, :, None])[:, :, 0] / self.temperature).exp()
        if name not in self.z:
            self.z[name] = p.mean().item() * self.samples
        p = p / self.z[name]
        noise = (rows.shape[1] - 1) / self.samples
        positive = (p[:, 0] / (p[:, 0] + noise)).log()
        negative = (noise / (p[:, 1:] + noise)).log()
        return -(positive.sum() + negative.sum()) / len(rows)


class GatheredWCoRD(nn.Module):
    """WCoRD's loss: the global part costs as much as CRD's loss, the local part is ours."""

    def __init__(self, setting: Setting, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.weight = options["global_weight"]
        self.contrast = GatheredCRD(setting, options)
        local = {**options, "global_weight": 0.0}
        self.matching = distillers.load("wcord")(setting, **local)

    def forward(self, student: Features, teacher: Features, batch: BatchWithRows) -> Tensor:
        contrast: Tensor = self.contrast(student, teacher, batch)
        return self.weight * contrast + self.matching(student, teacher, batch)


GATHERED = {"crd": GatheredCRD, "wcord": GatheredWCoRD}


class ReferenceRun:
    """One method's run: called with n, it trains on the next n batches of its loader."""

    def __init__(self, load: Workload, task: Task, stream: Iterator[Any]) -> None:
        self.device, self.stream = load.device, stream
        facts, specification = load.data.facts, task.specification
        self.student = models.build(specification.network, facts.classes)
        self.student = self.student.to(self.device).train()
        teacher = models.build(load.teacher, facts.classes).to(self.device).eval()
        self.terms, terms = nn.ModuleDict(), specification.method
        self.weights = {name: term.weight for name, term in terms.items()}
        self.teacher = teacher if set(self.weights) != {"ce"} else None
        shapes = [models.shapes(network, facts.size) for network in (self.student, teacher)]
        rng = seeding.generator(self.device, "reference")
        setting = Setting(*shapes, load.data.train_labels, rng)
        for name, term in terms.items():
            gathered = GATHERED[name](setting, term.options) if name in GATHERED else None
            self.terms[name] = gathered or distillers.load(name)(setting, **term.options)
        self.terms.to(self.device)
        recipe = specification.recipe
        parameters = [*self.student.parameters(), *self.terms.parameters()]
        self.optimizer = torch.optim.SGD(
            parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
        )

    def __call__(self, count: int) -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            for batch in itertools.islice(self.stream, count):
                images, *rest = (part.to(self.device) for part in batch)
                labels, index, *rows = rest
                self.step(images, BatchWithRows(labels, index, rows=rows[0] if rows else None))

    def step(self, images: Tensor, batch: BatchWithRows) -> None:
        """Train on one batch."""
        student = self.student(images)
        with torch.no_grad():
            teacher = self.teacher(images) if self.teacher else student
        losses = [
            self.weights[name] * term(student, teacher, batch) for name, term in self.terms.items()
        ]
        total = sum(losses[1:], losses[0])
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        batch_statistics(total, student.logits, batch.labels)


def batch_statistics(loss: Tensor, logits: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Return loss, top-1 and top-5 as the field prints them; this waits for the device."""
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return loss.item(), hits[:, 0].float().mean().item(), hits.any(1).float().mean().item()


def references(load: Workload, methods: Sequence[str], workers: int) -> dict[str, ReferenceRun]:
    """Return a run for each method; methods with the same negatives share a loader."""
    streams: dict[int, Iterator[Any]] = {}
    tasks, runs = load.tasks(), {}
    for name in methods:
        task, terms = tasks[name], tasks[name].specification.method
        counts = [terms[term].options["negatives"] for term in GATHERED if term in terms]
        negatives = counts[0] if counts else 0
        if negatives not in streams:
            images = (
                PILImagesWithNegatives(load.data, negatives)
                if counts
                else PILImages(load.data, "train")
            )
            size = task.specification.recipe.batch_size
            epochs = itertools.repeat(batches(images, size, workers, shuffle=True))
            streams[negatives] = itertools.chain.from_iterable(epochs)
        runs[name] = ReferenceRun(load, task, streams[negatives])
    return runs
