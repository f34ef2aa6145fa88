"""The interface of a network, for authors of plugins, and the papers' initial weights.

A network is a `torch.nn.Module` that maps images (B, 3, S, S), normalised float32, to
`distillers.Features`. A network may also return only logits (B, K). `bench.models.wrapper` then
finds the layers that compute the other features, by one forward pass. A plugin is a Python module.
It lists names, each with a function that builds the network for K classes, in `NETWORKS`:

    import torch.nn.functional as F
    from torch import Tensor, nn

    from bench.models.base import init_convolutions
    from distillers import Features

    class Tiny(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
            self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
            self.classifier = nn.Linear(32, classes)
            init_convolutions(self)

        def forward(self, images: Tensor) -> Features:
            first = F.relu(self.first(images))  # (B, 16, S/2, S/2)
            second = F.relu(self.second(first))  # (B, 32, S/4, S/4)
            pooled = second.mean((2, 3))  # (B, 32)
            return Features((first, second), pooled, self.classifier(pooled))

    NETWORKS = {"tiny": Tiny}

A suite that lists the plugin's file under `plugins:` can then use `tiny` as a teacher or a student.

Some distillers read optional features, such as the maps before a ReLU. The network's attribute
`taps` names the layers that compute them. Without `taps`, such distillers are skipped for the
network. For `Tiny`:

    from bench.models.base import Tap, Taps

    taps = Taps(
        preactivations=(Tap("first"), Tap("second")),  # the outputs, before each ReLU
        pooled_map="last stage",
        classifier="classifier",
    )
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from distillers.base import FeatureName

Builder = Callable[[int], nn.Module]  # number of classes K -> a new network


@dataclass(frozen=True)
class Cost:
    """The number of parameters and the number of multiply-adds of a network.

    Attributes:
        parameters: number of elements of all parameters, frozen parameters included.
        multiply_adds: multiply-adds of one forward pass of one image, in convolutions and in
            products with weight matrices. Biases, normalisation, and the products of queries, keys
            and values in attention are not counted.

    """

    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Tap:
    """A place where a map (B, C, H, W) is read: the input or the output of a layer.

    Attributes:
        layer: name of the layer in the network.
        side: whether the layer's input or output is read; the input is its first argument.
        call: number of the call among the layer's calls in one forward pass, from 0.
        combine: function that computes the map from all arguments of the layer; None: the map is
            the first argument.

    """

    layer: str
    side: Literal["input", "output"] = "output"
    call: int = 0
    combine: Callable[..., Tensor] | None = None


@dataclass(frozen=True)
class Taps:
    """The places in a network where the optional fields of `distillers.Features` are computed.

    Attributes:
        stem: the map before the first stage.
        preactivations: for each stage, its map before the last ReLU.
        pooled_map: the map that is averaged to `pooled`; "last stage" for the last stage's map.
        classifier: name of the linear layer that maps `pooled` to the logits.
        norms: for each stage, name of the batch norm in front of its last ReLU.
        missing: for each field that the network does not have, its name and the reason.
        distilled: name of the second classifier, which learns from the teacher (DeiT).

    """

    stem: Tap | None = None
    preactivations: tuple[Tap, ...] = ()
    pooled_map: Tap | Literal["last stage"] | None = None
    classifier: str = ""
    norms: tuple[str, ...] = ()
    missing: tuple[tuple[FeatureName, str], ...] = ()
    distilled: str = ""


def init_convolutions(net: nn.Module) -> None:
    """Draw the weights of all convolutions from a normal distribution; set their biases to 0.

    The mean is 0 and the variance is 2 / (k k C_out), for k x k kernels and C_out output channels.
    With this variance, gradients have about the same variance in all layers (He et al. 2015,
    arXiv:1502.01852, equation 14). As in the papers' code, the number of groups is ignored.
    The choice of this distribution affects the accuracy even after 240 epochs.

    Args:
        net: the network; its `nn.Conv2d` layers are changed in place, in the order of
            `net.modules()`, with draws from torch's global generator.

    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_classifier(layer: nn.Linear) -> None:
    """Draw a classifier's weights with mean 0 and standard deviation 0.01; set its bias to 0.

    Args:
        layer: the classifier (D -> K), changed in place.

    """
    nn.init.normal_(layer.weight, 0, 0.01)
    nn.init.zeros_(layer.bias)


def stage(first: nn.Module, block: Callable[[], nn.Module], blocks: int) -> nn.Sequential:
    """Return a stage: one block that may change width and resolution, then equal blocks.

    Args:
        first: the first block.
        block: function that builds one later block.
        blocks: total number of blocks, `first` included.

    """
    return nn.Sequential(first, *(block() for _ in range(blocks - 1)))
