"""Part about CRD's scores: one product with the whole bank and a gather, or its rows gathered."""

import torch
from torch import Tensor

from distillers._bank import Bank
from tests.benchmarks.rounds import interleaved
from tests.benchmarks.table import Row, over
from tests.benchmarks.workload import Workload


def scores(load: Workload) -> list[Row]:
    """Forward and backward, of a batch's anchors."""
    of = load.tasks()["crd"].specification
    options, batch = of["method"]["crd"]["options"], of["recipe"]["batch_size"]
    samples, width = len(load.data.train_labels), options["width"]
    rng = torch.Generator(load.device).manual_seed(0)
    bank = Bank(samples, width, 0.5, rng, unit=True)
    shape = (batch, 1 + options["negatives"])
    rows = torch.randint(samples, shape, generator=rng, device=load.device)
    anchor = torch.randn(batch, width, generator=rng, device=load.device, requires_grad=True)

    def product(count: int) -> None:
        for _ in range(count):
            bank.scores(anchor, rows).sum().backward()

    def gathered(count: int) -> None:
        for _ in range(count):
            by_rows(bank.rows, anchor, rows).sum().backward()

    found = interleaved({"rows gathered": gathered, "product, then gather": product}, load)
    ratios = over(found["rows gathered"], found["product, then gather"])
    return [
        Row("scores of crd", "rows gathered", found["rows gathered"]),
        Row("scores of crd", "product, then gather", found["product, then gather"], "ms",
            "gathered / it", ratios),
    ]  # fmt: skip


def by_rows(bank: Tensor, anchor: Tensor, rows: Tensor) -> Tensor:
    """Inner products (B, R) of anchor (B, width) with rows (B, R) of the bank (N, width)."""
    chosen = bank.index_select(0, rows.flatten()).view(*rows.shape, -1)
    return torch.bmm(chosen, anchor[:, :, None])[:, :, 0]
