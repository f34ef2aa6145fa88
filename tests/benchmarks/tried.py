"""Part about what was tried and left out: other ways to the same numbers."""

import copy
import shutil
import warnings

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from bench.training.evaluation import EVALUATION_BATCH
from tests.benchmarks.ours import Bare, kernels
from tests.benchmarks.rounds import Steps, interleaved
from tests.benchmarks.table import Row, over
from tests.benchmarks.workload import Workload

PIECES = 2  # of a batch, each of which a cache may hold


class Flat(nn.Module):
    """A network with its features as a plain tuple, which a trace can give back."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        seen = self.net(images)
        return (*seen.stages, seen.pooled, seen.logits)


def tried(load: Workload) -> list[Row]:
    """What is done, and what could be done in its place, for each precision."""
    rows = []
    for precision in load.precisions:
        bare = Bare(load, f"recipe.precision={precision}")
        for what, ways in (("teacher's pass", taught(bare)), ("evaluation", examined(bare))):
            found = interleaved(ways, load)
            first, usual = next(iter(found.items()))
            for way, samples in found.items():
                named, faster = f"{what} {way}, {precision}", over(usual, samples)
                rows.append(Row("tried", named, samples, "ms", f"{first} / it", faster))
    return rows


def taught(bare: Bare) -> dict[str, Steps]:
    """The teacher as it is; its normalisations folded; a batch in pieces; frozen; compiled."""
    net, images = bare.frozen, bare.images
    ways: dict[str, Steps] = {"as it is": bare.teacher}
    ways["folded"] = passes(bare, fuse(net).to(memory_format=torch.channels_last), [images])
    ways[f"in {PIECES} pieces"] = passes(bare, net, images.chunk(PIECES))
    if bare.recipe.precision != "bf16":  # a trace knows no autocast
        ways["frozen"] = passes(bare, frozen(net, images), [images])
    if shutil.which("c++"):
        ways["compiled"] = passes(bare, torch.compile(net), [images])
    return ways


def examined(bare: Bare) -> dict[str, Steps]:
    """So many images through the student, by the sizes of the batches."""
    sizes = sorted(EVALUATION_BATCH.values())
    shape = sizes[-1], *bare.images.shape[1:]
    images = torch.randn(shape, device=bare.images.device)
    images = images.contiguous(memory_format=torch.channels_last)
    net = copy.deepcopy(bare.net).eval()
    return {f"in batches of {size}": passes(bare, net, images.split(size)) for size in sizes}


def frozen(net: nn.Module, images: Tensor) -> nn.Module:
    """As TorchScript makes it for inference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Flat(net).eval(), images, check_trace=False)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def passes(bare: Bare, net: nn.Module, parts: tuple[Tensor, ...] | list[Tensor]) -> Steps:
    """Its forward passes over the parts of a batch."""

    def steps(count: int) -> None:
        with torch.no_grad(), kernels(bare.recipe), bare.autocast():
            for _ in range(count):
                for part in parts:
                    net(part)

    return steps
