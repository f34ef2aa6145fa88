"""Probes that SGD trains: a linear layer on a frozen network, or all layers of the network."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import seeding
from bench.data import Data
from bench.measures.readout import POOLED, read
from bench.models.base import init_classifier
from bench.spec import Recipe
from bench.training import optimizer as optimizers
from bench.training.evaluation import autocast, is_evaluation_due
from bench.training.loop import augmentation


@dataclass(frozen=True)
class Training:
    """The settings of a probe that SGD trains.

    Attributes:
        recipe: Optimiser, schedule, batch size and augmentation.
        layers: Whether all layers of the network are trained, instead of only the new classifier.
        drifting: Whether the frozen network runs in training mode, so that its batch norms use the
            batch's statistics and update their running statistics.
        small_init: Whether the classifier starts with weights from N(0, 0.01²) and bias 0, instead
            of torch's default initial values.
    """

    recipe: Recipe
    layers: bool = False
    drifting: bool = False
    small_init: bool = False


class Probed(nn.Module):
    """A network with a new classifier on its pooled features."""

    def __init__(self, net: nn.Module, width: int, classes: int, *, small_init: bool) -> None:
        super().__init__()
        self.net, self.classifier = net, nn.Linear(width, classes)
        if small_init:
            init_classifier(self.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, K) of images (B, 3, S, S), in float32."""
        return self.classifier(self.net(images).pooled.float())  # type: ignore[no-any-return]


def train(net: nn.Module, data: Data, training: Training, seed: int) -> list[Tensor]:
    """Train a probe on a copy of a network, and predict the test images.

    Args:
        net: The network, on the data's device; it does not change.
        data: The target data set.
        training: The settings.
        seed: Seed of the initial classifier, the order of images and the augmentation.

    Returns:
        The predicted classes (n,) of the test images at each evaluation. The last evaluation is
        after the last epoch.
    """
    recipe, device, facts = training.recipe, data.train_labels.device, data.facts
    net = copy.deepcopy(net).requires_grad_(training.layers)
    width = _width(net, data)
    with seeding.initialised_by("probe", seed):
        probed = Probed(net, width, facts.classes, small_init=training.small_init).to(device)
    trained = probed if training.layers else probed.classifier
    optimizer = optimizers.build(recipe, trained, (), set(), fused=False, captured=False)
    augment = augmentation(recipe)
    predictions = []
    for epoch in range(1, recipe.epochs + 1):
        optimizers.set_rate(optimizer, optimizers.learning_rate(recipe, epoch))
        seeding.restart(device, "probe", seed, epoch)  # seeds the generator for dropout
        probed.net.train(training.layers or training.drifting)
        for images, batch in data.epoch(seed, epoch, recipe.batch_size, augment):
            with autocast(device, recipe):
                logits = probed(images)
            loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if is_evaluation_due(recipe, epoch):
            predictions.append(_predict(probed, data, recipe))
    return predictions


@torch.no_grad()
def _predict(probed: Probed, data: Data, recipe: Recipe) -> Tensor:
    readout = read(probed.net, data, "test", recipe)
    logits: Tensor = probed.classifier(readout.features[POOLED])
    return logits.argmax(1)


@torch.no_grad()
def _width(net: nn.Module, data: Data) -> int:
    """Return the number of pooled features of a network."""
    net.eval()
    images, _ = next(iter(data.evaluation("test", 1)))
    width: int = net(images).pooled.shape[1]
    return width
