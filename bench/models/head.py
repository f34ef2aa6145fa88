"""A student whose classifier a distiller replaces at test time (`Distiller.predict`)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from bench.models.base import Taps
from bench.models.taps import reader
from distillers import Distiller, Features

PREFIX = "head."  # of the distiller's tensors in a file of weights


class Headed(nn.Module):
    """A network whose logits are those of a distiller's `predict`.

    Args:
        net: The student.
        distiller: The distiller; its parameters and buffers are the head.
        taps: The places of optional fields in the network.
    """

    def __init__(self, net: nn.Module, distiller: Distiller, taps: Taps) -> None:
        super().__init__()
        self.net, self.distiller, self._taps = net, distiller, taps

    def forward(self, images: Tensor) -> Features:
        """Return the features of images (B, 3, S, S), with the head's logits."""
        features = reader(self.net, self._taps, type(self.distiller).reads)(images)
        with torch.autocast(images.device.type, enabled=False):
            features = features.map(Tensor.float)
            return replace(features, logits=self.distiller.predict(features))

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors of the network by name, and those of the head with a prefix."""
        head = dict(self.distiller.named_parameters()) | dict(self.distiller.named_buffers())
        return {**self.net.state_dict(), **{f"{PREFIX}{name}": x for name, x in head.items()}}
