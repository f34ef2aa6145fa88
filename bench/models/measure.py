"""What can be said of a network before it sees an image: its shapes and its cost."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from bench.errors import BenchError
from bench.models import dry
from bench.models.outside import Outside
from distillers import Features, Shapes


@dataclass(frozen=True)
class Cost:
    """What a network costs: its parameters, and its work for one image."""

    parameters: int
    multiply_adds: int  # of convolutions, linear layers and attention's projections


def shapes(net: nn.Module, size: int) -> Shapes:
    """The shapes of its features for images of 3 x size x size, by a dry run of a copy.

    Weights, buffers, mode and random generators stay as they are. Raises BenchError if the
    network cannot take such images.
    """
    if isinstance(net, Outside):
        net.taps(size)  # found once, kept for training
    features = dry.run(dry.copied(net, size), size)
    if not isinstance(features, Features):
        raise BenchError(f"{type(net).__name__} returns no distillers.Features")
    stages = tuple((s.shape[1], s.shape[2], s.shape[3]) for s in features.stages)
    return Shapes(stages, features.pooled.shape[1], features.logits.shape[1])


def cost(net: nn.Module, size: int) -> Cost:
    """Its parameters, and its multiply-adds for one image of 3 x size x size.

    Raises BenchError if the network cannot take such images.
    """
    work: list[int] = []

    def count(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        work.append(multiply_adds(layer, given, output))

    bare = dry.copied(net.network if isinstance(net, Outside) else net, size)
    for layer in bare.modules():
        layer.register_forward_hook(count)
    dry.run(bare, size)
    return Cost(sum(p.numel() for p in net.parameters()), sum(work))


def multiply_adds(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> int:
    """Of one layer for one image; biases, normalisation and attention's products count nothing."""
    match layer:
        case _ConvNd(transposed=True):
            return dry.elements(given[0]) * int(layer.weight[0].numel())
        case _ConvNd():
            return dry.elements(output) * int(layer.weight[0].numel())
        case nn.Linear():
            return dry.elements(output) * layer.in_features
        case nn.MultiheadAttention():  # four projections, done without calling a linear layer
            return 4 * dry.elements(output[0]) * int(layer.embed_dim)
    return 0
