"""Teachers: read, checked, frozen, asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import models
from bench.data import Data, Facts, Split
from bench.errors import TeacherRefused
from bench.plugins import BUILTIN, Registry
from bench.training.evaluation import Recipe, autocast, float32, predict
from bench.training.pretrained import read_state
from distillers import Features


class Teacher:
    """A frozen network in eval mode: the same answer for every student of a batch."""

    def __init__(self, net: nn.Module, data: Data, recipe: Recipe) -> None:
        self.shapes = models.shapes(net, data.facts.size)
        net = net.to(data.train_labels.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net.eval().requires_grad_(False)
        self.recipe = recipe

    @torch.no_grad()
    def __call__(self, images: Tensor, stages: bool = True) -> Features:
        """The features, float32, of images (B, 3, H, W); stages if asked for."""
        with autocast(images.device, self.recipe):
            seen = self.net(images)
        return float32(seen, stages=stages)

    def logits(self, data: Data, split: Split) -> Tensor:
        """The logits (n, K) on a split of the data, in its fixed order."""
        return predict(self.net, data, split, self.recipe)[0]


def load(network: str, facts: Facts, path: Path, registry: Registry = BUILTIN) -> nn.Module:
    """The named network with the weights of a file; `TeacherRefused` where they do not fit."""
    net = registry.build_network(network, facts.classes, facts.size)
    state = read_state(path)
    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if differences := _differences(wanted, found):
        raise TeacherRefused(f"{path}: not a {network} of {facts.classes} classes: {differences}")
    net.load_state_dict(state)
    return net


def check_accuracy(path: Path, top1: float, manifest: Mapping[str, Any]) -> None:
    """Refuse a teacher whose test accuracy, in percent, is not what its manifest says."""
    expected, tolerance = manifest.get("top1"), manifest.get("tolerance", 0.0)
    if expected is not None and abs(top1 - expected) > tolerance:
        raise TeacherRefused(
            f"{path}: {top1:.2f} % top-1 on the test set; its manifest says "
            f"{expected:.2f} ± {tolerance:.2f}"
        )


def _differences(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """How two state_dicts differ in names and shapes, in a few words; empty if they do not."""
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    other = [
        f"{name} is {found[name]}, not {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    parts = [_some("missing", missing), _some("unexpected", extra), _some("shape of", other)]
    return "; ".join(part for part in parts if part)


def _some(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {', '.join(names[:3])}{more}" if names else ""
