"""The outputs of a finished network on a split, computed once and kept."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.data import Data, Split
from bench.spec import Recipe
from bench.training.evaluation import EVALUATION_BATCH, autocast

POOLED = "pooled"


@dataclass(frozen=True)
class Readout:
    """Outputs for n images, in the order of the split.

    Attributes:
        labels: The true classes (n,).
        logits: The logits (n, K) in float32.
        features: Features (n, D) in float32 by name: `pooled`, the input of the classifier, and
            `stage1`, `stage2`, …, the mean of each stage's map over its positions.
    """

    labels: Tensor
    logits: Tensor
    features: Mapping[str, Tensor]


@torch.no_grad()
def read(
    net: nn.Module, data: Data, split: Split, recipe: Recipe, batch_size: int | None = None
) -> Readout:
    """Compute the outputs of a network in eval mode, without augmentation.

    Args:
        net: A network that returns `Features`, on the data's device.
        data: The data set.
        split: The images to use.
        recipe: The training settings of the network; only the precision is used.
        batch_size: Number of images at a time; None: the default for the device.
    """
    net.eval()
    count = batch_size or EVALUATION_BATCH[data.train_labels.device.type]
    labels, logits = [], []
    features: dict[str, list[Tensor]] = {}
    for images, batch_labels in data.evaluation(split, count):
        with autocast(images.device, recipe):
            outputs = net(images)
        parts = {POOLED: outputs.pooled}
        parts |= {f"stage{i}": x.mean((2, 3)) for i, x in enumerate(outputs.stages, 1)}
        for name, value in parts.items():
            features.setdefault(name, []).append(value.float())
        logits.append(outputs.logits.float())
        labels.append(batch_labels)
    joined = {name: torch.cat(values) for name, values in features.items()}
    return Readout(torch.cat(labels), torch.cat(logits), joined)
