"""Teachers: load a network's trained weights from a file, and compute the network's features."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import models
from bench.data import Data, Facts
from bench.errors import BenchError, TeacherRefused
from bench.planning.estimate import build_for_estimate
from bench.planning.plan import Plan
from bench.plugins import BUILTIN, Registry
from bench.spec import Recipe
from bench.suite import at_line
from bench.training import pretrained
from bench.training.evaluation import autocast, float32
from bench.training.pretrained import Contents, Fit
from distillers import Features


def checkpoint_problems(plan: Plan) -> list[str]:
    """Open every checkpoint that a suite names, and compare its tensors with the network.

    Args:
        plan: The plan of the suite.

    Returns:
        A line `suite.yaml:7  teachers.checkpoints.NAME: …` for each file that cannot be used.
    """
    suite = plan.suite
    lines = []
    checkpoints = {p.teacher.network: p.teacher.checkpoint for p in suite.pairs}
    for network, checkpoint in checkpoints.items():
        if checkpoint is None or not checkpoint.path.exists():  # the suite may give only a SHA-256
            continue
        try:
            fit_checkpoint(checkpoint.path, network, plan.facts, suite.registry, suite.networks)
        except BenchError as error:
            lines.append(at_line(suite, f"teachers.checkpoints.{network}", str(error)))
    return lines


def fit_checkpoint(
    path: Path, network: str, facts: Facts, registry: Registry, others: Iterable[str]
) -> Fit:
    """Find the tensors of a checkpoint that fit a network.

    Args:
        path: The checkpoint.
        network: The network's name.
        facts: Facts of the data set; the number of classes and the image size are used.
        registry: The networks that the suite can use, by name.
        others: Names of networks that a refusal mentions if the checkpoint fits them.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is not a checkpoint of this network.
    """
    contents = pretrained.read(path)
    try:
        return fit(contents, network, facts, registry)
    except TeacherRefused as error:
        names = [name for name in others if _is_fit(contents, name, facts, registry)]
        if not names:
            raise
        hint = f"It fits another network of the suite: {', '.join(names)}"
        raise TeacherRefused(f"{error}. {hint}") from error


def fit(contents: Contents, network: str, facts: Facts, registry: Registry) -> Fit:
    """Find the tensors of a file that fit a network; raise TeacherRefused without such tensors."""
    build = partial(registry.build_network, network, facts.classes, facts.size)
    name = f"a {network} of {facts.classes} classes"
    return pretrained.fit(contents, build_for_estimate(build), name)


def _is_fit(contents: Contents, network: str, facts: Facts, registry: Registry) -> bool:
    try:
        fit(contents, network, facts, registry)
    except BenchError:
        return False
    return True


class Teacher:
    """A frozen network in eval mode, shared by all students of a cohort.

    Args:
        net: The network.
        data: The data set. The network is moved to the data set's device.
        recipe: The training settings; only the precision is used.

    Attributes:
        net: The network.
        shapes: Shapes of the network's features.
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
            images: The batch's images, (B, 3, H, W).
            stages: Whether to include the feature map of each stage; False saves time.

        Returns:
            The features in float32.
        """
        with autocast(images.device, self.recipe):
            features = self.net(images)
        return float32(features, stages=stages)


def load(
    network: str,
    facts: Facts,
    path: Path,
    registry: Registry = BUILTIN,
    stages: Sequence[str] = (),
) -> nn.Module:
    """Build a network and load its weights from a file.

    Args:
        network: The network's name.
        facts: Facts of the data set; the number of classes and the image size are used.
        path: The file with the weights.
        registry: The networks that the suite can use, by name.
        stages: Names of the layers that end the network's stages; (): its default stages.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file does not hold weights that fit this network.
    """
    net = registry.build_network(network, facts.classes, facts.size, stages)
    name = f"a {network} of {facts.classes} classes"
    pretrained.load_into(net, pretrained.fit(pretrained.read(path), net, name).state)
    return net
