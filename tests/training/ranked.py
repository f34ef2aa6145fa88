"""One rank of a small network in float64: `python -m tests.training.ranked JOB RANK FOLDER`.

Writes what its step gives, for comparison with one device.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.execution import ranks
from bench.execution.protocol import Job
from bench.training.sharded import Sharded, Share
from distillers import Features

COUNTS = (7, 6, 2)  # parts of unequal size, of equal size, and too few for three ranks


class Activated(nn.BatchNorm2d):
    """A batch norm with a forward of its own, as timm's BatchNormAct2d."""

    def forward(self, x: Tensor) -> Tensor:
        training = self.training
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training, 0.3, self.eps
        ).relu()


class Net(nn.Module):
    """Two stages, with batch norms of three kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None)
        self.second, self.both = nn.Conv2d(4, 5, 3), Activated(5)
        self.flat = nn.BatchNorm1d(5, affine=False)
        self.end = nn.Linear(5, 6)

    def forward(self, images: Tensor) -> Features:
        one = self.norm(self.first(images)).relu()
        two = self.both(self.second(one))
        pooled = self.flat(two.mean((2, 3)))
        return Features((one, two), pooled, self.end(pooled))


def stepped(share: Share) -> dict[str, Tensor]:
    """Losses, gradients and running statistics of a step for each count, all of them float64."""
    torch.manual_seed(0)
    net, sharded = Net().double(), Sharded(share)
    teacher = Net().double().eval().requires_grad_(False)
    heads = nn.Linear(5, 5).double()
    found: dict[str, Tensor] = {}
    for count in COUNTS:
        images = torch.randn(count, 3, 8, 8).double() + 3
        own = images[share.own(count)]
        with sharded.statistics(count):
            part = net(own)
        seen = sharded.whole(part, count, stages=True)
        taught = sharded.whole(teacher(own), count, stages=True)
        net.zero_grad(set_to_none=True)
        heads.zero_grad(set_to_none=True)
        loss = objective(seen, taught, heads)
        loss.backward()
        sharded.sum_gradients(net.parameters(), count)
        found[f"{count} loss"] = loss.detach()
        for name, parameter in [*net.named_parameters(), *heads.named_parameters("heads")]:
            assert parameter.grad is not None
            found[f"{count} {name}"] = parameter.grad.clone()
    return {**found, **{name: value.double() for name, value in net.named_buffers()}}


def objective(student: Features, teacher: Features, heads: nn.Module) -> Tensor:
    """Of all features, with relations between the samples of the batch."""
    maps = zip(student.stages, teacher.stages, strict=True)
    near = sum(F.mse_loss(s, t) for s, t in maps)
    alike = F.normalize(heads(student.pooled)) @ F.normalize(teacher.pooled).T
    return near + alike.logsumexp(1).mean() - student.logits.log_softmax(1)[:, 0].mean()


if __name__ == "__main__":
    job, rank, folder = Job.from_json(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    share = ranks.join(job, rank, folder)
    torch.save(stepped(share), folder / f"{rank}.pt")
    Sharded(share).leave()
