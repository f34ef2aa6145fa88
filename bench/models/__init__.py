"""Build networks by name: `build("resnet8x4", 100)` returns a network for 100 classes.

A network maps images to `Features`: stage maps, pooled features and logits. This package has the 22
CIFAR networks that distillation papers use, one file per family, and MobileNet V1 for ImageNet.
`timm:<name>` and `torchvision:<name>` are networks of these libraries. Plugins (users' modules) can
add networks; `bench.models.base` documents how.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.models.base import Builder, Cost
    from bench.models.factory import (
        build,
        classifier_layer,
        cost,
        headed,
        layer_groups,
        reader,
        shapes,
        stage_layers,
    )
    from bench.models.head import Headed
    from bench.models.taps import TAPPED
    from bench.models.wrapper import FeatureExtractor

__all__ = [
    "TAPPED",
    "Builder",
    "Cost",
    "FeatureExtractor",
    "Headed",
    "build",
    "classifier_layer",
    "cost",
    "headed",
    "layer_groups",
    "names",
    "reader",
    "shapes",
    "stage_layers",
]

NAMES = (  # of the tables `NETWORKS` in this package's files, which import torch
    "mobilenet_v1", "mobilenet_v2", "resnet110", "resnet14", "resnet20", "resnet32",
    "resnet32x4", "resnet44", "resnet50", "resnet56", "resnet8", "resnet8x4", "shufflenet_v1",
    "shufflenet_v2", "vgg11", "vgg13", "vgg16", "vgg19", "vgg8", "wrn_16_1", "wrn_16_2",
    "wrn_40_1", "wrn_40_2",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Return a name of `bench.models.factory`, which imports torch."""
    if name in __all__:
        return getattr(import_module("bench.models.factory"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> list[str]:
    """Return the sorted names of this package's networks.

    Networks of timm and torchvision are not listed.
    """
    return sorted(NAMES)
