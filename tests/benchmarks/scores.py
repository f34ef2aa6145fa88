"""Part `scores`: CRD's scores by one product with the bank and a gather, or by gathered rows."""

import torch
from torch import Tensor

from distillers._memory_bank import MemoryBank
from tests.benchmarks.table import Row, divide
from tests.benchmarks.timing import Steps, time_subjects
from tests.benchmarks.workload import Workload

SIZES = (0.25, 0.5, 1, 2, 4)  # rows of the bank, in training sets


def scores(load: Workload) -> list[Row]:
    """Time forward and backward for a batch of anchors; the product also with other bank sizes."""
    ways = {f"{size:g}": score_steps(load, size) for size in SIZES}
    subjects: dict[str, Steps] = {f"{size} product": pair[0] for size, pair in ways.items()}
    subjects["1 gathered"] = ways["1"][1]
    times = time_subjects(subjects, load)
    gathered, product = times["1 gathered"], times["1 product"]
    rows = [Row("scores of crd", "rows gathered", gathered)]
    faster = divide(gathered, product)
    rows += [Row("scores of crd", "product, then gather", product, "ms", "gathered / this", faster)]
    smallest = times[f"{SIZES[0]:g} product"]
    for size in SIZES:
        samples, count = times[f"{size:g} product"], round(size * len(load.data.train_labels))
        ratio = f"this / {SIZES[0]:g} sets"
        growth = divide(samples, smallest)
        rows.append(Row("growth: bank rows", str(count), samples, "ms", ratio, growth))
    return rows


def score_steps(load: Workload, size: float) -> tuple[Steps, Steps]:
    """Return the product and the gathered rows, with a bank of `size` training sets."""
    specification = load.tasks()["crd"].specification
    options = specification.method["crd"].options
    batch, width = specification.recipe.batch_size, options["width"]
    samples = round(size * len(load.data.train_labels))
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
            gathered_scores(bank.rows, anchor, rows).sum().backward()

    return product, gathered


def gathered_scores(bank: Tensor, anchor: Tensor, rows: Tensor) -> Tensor:
    """Return inner products (B, R) of anchor (B, width) with rows (B, R) of the bank (N, width)."""
    gathered = bank.index_select(0, rows.flatten()).view(*rows.shape, -1)
    return torch.bmm(gathered, anchor[:, :, None])[:, :, 0]
