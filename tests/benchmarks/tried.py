"""Part about what was tried and left out: other ways to the same features of the teacher."""

import warnings

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from tests.benchmarks.ours import Bare
from tests.benchmarks.rounds import Steps, interleaved
from tests.benchmarks.table import Row, over
from tests.benchmarks.training import PRECISIONS
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
    """The teacher's pass as it is; its normalisations folded; frozen; a batch in pieces."""
    rows = []
    for precision in PRECISIONS:
        bare = Bare(load, f"recipe.precision={precision}")
        net, images = bare.frozen, bare.images
        ways: dict[str, Steps] = {"as it is": bare.teacher}
        ways["folded"] = passes(bare, fuse(net).to(memory_format=torch.channels_last), [images])
        ways[f"in {PIECES} pieces"] = passes(bare, net, images.chunk(PIECES))
        if precision == "float32":  # a trace knows no autocast
            ways["frozen"] = passes(bare, frozen(net, images), [images])
        found = interleaved(ways, load)
        for way, samples in found.items():
            faster = over(found["as it is"], samples)
            what = f"teacher's pass {way}, {precision}"
            rows.append(Row("tried", what, samples, "ms", "as it is / it", faster))
    return rows


def frozen(net: nn.Module, images: Tensor) -> nn.Module:
    """As TorchScript makes it for inference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Flat(net).eval(), images, check_trace=False)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def passes(bare: Bare, net: nn.Module, parts: tuple[Tensor, ...] | list[Tensor]) -> Steps:
    """Its forward passes over the parts of a batch."""

    def steps(count: int) -> None:
        with torch.no_grad(), bare.autocast():
            for _ in range(count):
                for part in parts:
                    net(part)

    return steps
