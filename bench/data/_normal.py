"""From bytes to the numbers that networks read: (x / 255 - mean) / std."""

import torch
from torch import Tensor

from bench.data._base import Facts


class Normalised:
    """Normalises images with a data set's constants, on one device."""

    def __init__(self, facts: Facts, device: torch.device) -> None:
        # Repeated along a row of pixels: a vector of three is too short for the processor.
        self.mean = torch.tensor(facts.mean, device=device).repeat(facts.size)
        self.std = torch.tensor(facts.std, device=device).repeat(facts.size)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 as (B, 3, S, S) float32, channels-last in memory."""
        rows = images.flatten(2).float()  # (B, S, S * 3)
        rows.div_(255).sub_(self.mean).div_(self.std)
        return rows.view(images.shape).permute(0, 3, 1, 2)
