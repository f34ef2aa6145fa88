"""Part `tried`: alternatives with the same numbers that were measured and not adopted."""

import copy
import shutil
import warnings

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from bench.training.evaluation import EVALUATION_BATCH
from tests.benchmarks.ours import BareNetworks, kernels
from tests.benchmarks.table import Row, divide
from tests.benchmarks.timing import Steps, time_subjects
from tests.benchmarks.workload import Workload

PIECES = 2  # of a batch, so that a piece may fit the cache


class TupleOutput(nn.Module):
    """A network that returns its features as a tuple, as a trace requires."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.network(images)
        return (*features.stages, features.pooled, features.logits)


def tried(load: Workload) -> list[Row]:
    """Time the adopted way and its alternatives, for each precision."""
    rows = []
    for precision in load.precisions:
        bare = BareNetworks(load, f"recipe.precision={precision}")
        variants = {"teacher's pass": teacher_variants(bare)}
        variants["evaluation"] = evaluation_variants(bare)
        for what, ways in variants.items():
            times = time_subjects(ways, load)
            adopted, adopted_times = next(iter(times.items()))
            for way, samples in times.items():
                subject, ratio = f"{what} {way}, {precision}", f"{adopted} / this"
                faster = divide(adopted_times, samples)
                rows.append(Row("tried", subject, samples, "ms", ratio, faster))
    return rows


def teacher_variants(bare: BareNetworks) -> dict[str, Steps]:
    """Return the teacher unchanged, with folded normalisation, in pieces, frozen, and compiled."""
    network, images = bare.frozen, bare.images
    ways: dict[str, Steps] = {"unchanged": bare.teacher}
    folded = fuse(network).to(memory_format=torch.channels_last)
    ways["folded"] = forward_passes(bare, folded, [images])
    ways[f"in {PIECES} pieces"] = forward_passes(bare, network, images.chunk(PIECES))
    if bare.recipe.precision != "bf16":  # a trace does not support autocast
        ways["frozen"] = forward_passes(bare, freeze(network, images), [images])
    if shutil.which("c++"):
        ways["compiled"] = forward_passes(bare, torch.compile(network), [images])
    return ways


def evaluation_variants(bare: BareNetworks) -> dict[str, Steps]:
    """Return the student's evaluation of the same images in batches of each size."""
    sizes = sorted(EVALUATION_BATCH.values())
    shape = sizes[-1], *bare.images.shape[1:]
    images = torch.randn(shape, device=bare.images.device)
    images = images.contiguous(memory_format=torch.channels_last)
    network = copy.deepcopy(bare.network).eval()
    return {
        f"in batches of {size}": forward_passes(bare, network, images.split(size)) for size in sizes
    }


def freeze(network: nn.Module, images: Tensor) -> nn.Module:
    """Return the network as TorchScript optimizes it for inference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(TupleOutput(network).eval(), images, check_trace=False)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def forward_passes(
    bare: BareNetworks, network: nn.Module, parts: tuple[Tensor, ...] | list[Tensor]
) -> Steps:
    """Return steps that pass each part of a batch through the network."""

    def steps(count: int) -> None:
        with torch.no_grad(), kernels(bare.recipe), bare.autocast():
            for _ in range(count):
                for part in parts:
                    network(part)

    return steps
