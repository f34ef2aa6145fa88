"""A student with a head: at test time, a distiller replaces the classifier of the student."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from bench.models.base import Taps
from bench.models.taps import reader
from distillers import Distiller, Features

PREFIX = "head."  # start of the names of the distiller's tensors in a weight file


class Headed(nn.Module):
    """A student whose logits are a distiller's prediction (`Distiller.predict`).

    Args:
        net: The student.
        distiller: The distiller; its parameters and buffers are the head.
        taps: The layers where the optional fields of `Features` are read.
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
        """Return the tensors of the network, and those of the head with the prefix `head.`."""
        head = dict(self.distiller.named_parameters()) | dict(self.distiller.named_buffers())
        return {**self.net.state_dict(), **{f"{PREFIX}{name}": x for name, x in head.items()}}
