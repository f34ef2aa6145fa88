"""Teachers: load their weights, check them, and compute their features."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import models
from bench.data import Data, Facts
from bench.errors import TeacherRefused
from bench.plugins import BUILTIN, Registry
from bench.spec import Recipe
from bench.suite import Checkpoint
from bench.training.evaluation import autocast, float32
from bench.training.pretrained import read_state
from distillers import Features

MAX_LISTED = 3  # tensors in an error message


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
    if differences := _differences(net.state_dict(), state):
        raise TeacherRefused(f"{path}: not a {network} of {facts.classes} classes: {differences}")
    net.load_state_dict(state)
    return net


def check_accuracy(checkpoint: Checkpoint, top1: float) -> None:
    """Compare a teacher's accuracy with its manifest.

    Args:
        checkpoint: The teacher's file, with its expected accuracy.
        top1: Its accuracy on the test set, in percent.

    Raises:
        TeacherRefused: They differ by more than the tolerance.
    """
    expected, tolerance = checkpoint.top1, checkpoint.tolerance
    if expected is not None and abs(top1 - expected) > tolerance:
        raise TeacherRefused(
            f"{checkpoint.path}: {top1:.2f} % top-1 on the test set; its manifest says "
            f"{expected:.2f} ± {tolerance:.2f}"
        )


def _differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> str:
    """Describe how two state_dicts differ in names and shapes; empty if they do not."""
    states = [
        [f"{name} {tuple(value.shape)}" for name, value in state.items()]
        for state in (expected, actual)
    ]
    missing = [tensor for tensor in states[0] if tensor not in states[1]]
    unexpected = [tensor for tensor in states[1] if tensor not in states[0]]
    groups = {"missing": missing, "unexpected": unexpected}
    return "; ".join(_listed(label, tensors) for label, tensors in groups.items() if tensors)


def _listed(label: str, names: list[str]) -> str:
    rest = len(names) - MAX_LISTED
    return f"{label} {', '.join(names[:MAX_LISTED])}" + (f" and {rest} more" if rest > 0 else "")
