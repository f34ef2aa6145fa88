"""Part about CRD's scores: one product with the whole bank and a gather, or its rows gathered."""

import torch
from torch import Tensor

from distillers._memory_bank import MemoryBank
from tests.benchmarks.rounds import Steps, interleaved
from tests.benchmarks.table import Row, over
from tests.benchmarks.workload import Workload

SIZES = (0.25, 0.5, 1, 2, 4)  # of the bank, beside that of the training set


def scores(load: Workload) -> list[Row]:
    """Forward and backward, of a batch's anchors; the product against larger and smaller banks."""
    ways = {f"{size:g}": both(load, size) for size in SIZES}
    subjects: dict[str, Steps] = {f"{size} product": pair[0] for size, pair in ways.items()}
    subjects["1 gathered"] = ways["1"][1]
    found = interleaved(subjects, load)
    gathered, product = found["1 gathered"], found["1 product"]
    rows = [Row("scores of crd", "rows gathered", gathered)]
    faster = over(gathered, product)
    rows += [Row("scores of crd", "product, then gather", product, "ms", "gathered / it", faster)]
    least = found[f"{SIZES[0]:g} product"]
    for size in SIZES:
        samples, count = found[f"{size:g} product"], round(size * len(load.data.train_labels))
        to = f"it / {SIZES[0]:g} sets"
        rows.append(Row("growth: bank rows", str(count), samples, "ms", to, over(samples, least)))
    return rows


def both(load: Workload, size: float) -> tuple[Steps, Steps]:
    """The product and the gathered rows, for a bank of so many training sets."""
    of = load.tasks()["crd"].specification
    options, batch = of["method"]["crd"]["options"], of["recipe"]["batch_size"]
    samples, width = round(size * len(load.data.train_labels)), options["width"]
    rng = torch.Generator(load.device).manual_seed(0)
    bank = MemoryBank(samples, width, 0.5, rng, unit_length=True)
    shape = (batch, 1 + options["negatives"])
    rows = torch.randint(samples, shape, generator=rng, device=load.device)
    anchor = torch.randn(batch, width, generator=rng, device=load.device, requires_grad=True)

    def product(count: int) -> None:
        for _ in range(count):
            bank.scores(anchor, rows).sum().backward()

    def gathered(count: int) -> None:
        for _ in range(count):
            by_rows(bank.rows, anchor, rows).sum().backward()

    return product, gathered


def by_rows(bank: Tensor, anchor: Tensor, rows: Tensor) -> Tensor:
    """Inner products (B, R) of anchor (B, width) with rows (B, R) of the bank (N, width)."""
    chosen = bank.index_select(0, rows.flatten()).view(*rows.shape, -1)
    return torch.bmm(chosen, anchor[:, :, None])[:, :, 0]
