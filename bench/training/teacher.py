"""Teachers: load their weights, check them, and compute their features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import models
from bench.data import Data, Facts
from bench.errors import TeacherRefused
from bench.plugins import BUILTIN, Registry
from bench.spec import Recipe
from bench.training.evaluation import autocast, float32
from bench.training.pretrained import read_state
from distillers import Features

MAX_LISTED = 3  # names in an error message


class Teacher:
    """A frozen network in eval mode, shared by all students of a cohort.

    Args:
        net: The network.
        data: The data set; the network is moved to its device.
        recipe: Says the precision.

    Attributes:
        net: The network.
        shapes: Shapes of its features.
    """

    def __init__(self, net: nn.Module, data: Data, recipe: Recipe) -> None:
        self.shapes = models.shapes(net, data.facts.size)
        net = net.to(data.train_labels.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net.eval().requires_grad_(False)
        self.recipe = recipe

    @torch.no_grad()
    def __call__(self, images: Tensor, stages: bool = True) -> Features:
        """Compute the features of a batch.

        Args:
            images: (B, 3, H, W).
            stages: Whether the features contain the stages' maps.

        Returns:
            The features in float32.
        """
        with autocast(images.device, self.recipe):
            features = self.net(images)
        return float32(features, stages=stages)


def load(network: str, facts: Facts, path: Path, registry: Registry = BUILTIN) -> nn.Module:
    """Build a network with the weights of a file.

    Args:
        network: The network's name.
        facts: Says the number of classes and the size of images.
        path: The file.
        registry: The networks of the suite.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is not a checkpoint of this network.
    """
    net = registry.build_network(network, facts.classes, facts.size)
    state = read_state(path)
    expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    actual = {name: tuple(value.shape) for name, value in state.items()}
    if differences := _differences(expected, actual):
        raise TeacherRefused(f"{path}: not a {network} of {facts.classes} classes: {differences}")
    net.load_state_dict(state)
    return net


def check_accuracy(path: Path, top1: float, manifest: Mapping[str, Any]) -> None:
    """Compare a teacher's accuracy with its manifest.

    Args:
        path: The teacher's file.
        top1: Its accuracy on the test set, in percent.
        manifest: Its expected `top1` and `tolerance`, in percent; neither is required.

    Raises:
        TeacherRefused: They differ by more than the tolerance.
    """
    expected, tolerance = manifest.get("top1"), manifest.get("tolerance", 0.0)
    if expected is not None and abs(top1 - expected) > tolerance:
        raise TeacherRefused(
            f"{path}: {top1:.2f} % top-1 on the test set; its manifest says "
            f"{expected:.2f} ± {tolerance:.2f}"
        )


def _differences(
    expected: Mapping[str, tuple[int, ...]], actual: Mapping[str, tuple[int, ...]]
) -> str:
    """Describe how two state_dicts differ in names and shapes; empty if they do not."""
    missing = [name for name in expected if name not in actual]
    extra = [name for name in actual if name not in expected]
    reshaped = [
        f"{name} is {actual[name]}, not {shape}"
        for name, shape in expected.items()
        if name in actual and actual[name] != shape
    ]
    groups = {"missing": missing, "unexpected": extra, "shape of": reshaped}
    return "; ".join(_listed(label, names) for label, names in groups.items() if names)


def _listed(label: str, names: list[str]) -> str:
    rest = len(names) - MAX_LISTED
    return f"{label} {', '.join(names[:MAX_LISTED])}" + (f" and {rest} more" if rest > 0 else "")
