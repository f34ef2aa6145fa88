"""How a network is asked: under the recipe's precision, answers in float32."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from bench.data import Data, Split
from distillers import Features

EVALUATION_BATCH = {
    "cpu": 64,
    "cuda": 500,
}  # on a CPU the fastest (PERFORMANCE.md); on a GPU never timed
Recipe = Mapping[str, Any]


def autocast(device: torch.device, recipe: Recipe) -> AbstractContextManager[object]:
    """Networks run under this: in bfloat16 where the recipe says so, else in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe["precision"] == "bf16")


def float32(features: Features, *, stages: bool = True) -> Features:
    """The same features in float32, in which all losses are computed; stages if asked for."""
    maps = tuple(stage.float() for stage in features.stages if stages)
    return Features(maps, features.pooled.float(), features.logits.float())


def detached(features: Features) -> Features:
    """The same features without their history."""
    stages = tuple(stage.detach() for stage in features.stages)
    return Features(stages, features.pooled.detach(), features.logits.detach())


@torch.no_grad()
def predict(net: nn.Module, data: Data, split: Split, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Logits (n, K) in float32 of a network in eval mode on a split, and its labels (n,)."""
    net.eval()
    logits, labels = [], []
    size = EVALUATION_BATCH[data.train_labels.device.type]
    for images, truth in data.evaluation(split, size):
        with autocast(images.device, recipe):
            logits.append(net(images).logits.float())
        labels.append(truth)
    return torch.cat(logits), torch.cat(labels)
