"""Digits: 1,797 real handwritten digits of 8 x 8 pixels that scikit-learn ships.

E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI 1998, its test part.
"""

from pathlib import Path

import torch

from bench.data._base import Arrays, Facts
from bench.data._subset import rank

TESTED = 90  # images of each class, by the fixed order of `rank`; about half


class Digits:
    """Needs no file and no network. Half the images of each digit are for testing, always the same.

    Intensities 0..16 are scaled to 0..255.
    """

    facts = Facts(
        name="digits",
        classes=10,
        size=8,
        train=897,
        test=900,
        mean=(0.3054, 0.3054, 0.3054),
        std=(0.3764, 0.3764, 0.3764),
        fingerprint="sha256:fd077db7636e0bd16fb159b030f3b86b4cf2d9fb65b5e5f99e0bc990235bed27",
        fewest=(84, 90),
    )

    def read(self, root: Path) -> Arrays:
        """All images, one channel; the root is not looked at."""
        from sklearn.datasets import load_digits

        bundle = load_digits()
        images = torch.from_numpy(bundle.images * (255 / 16)).round().to(torch.uint8)[:, None]
        labels = torch.from_numpy(bundle.target).long()
        tested = rank(labels) < TESTED
        return Arrays(images[~tested], labels[~tested], images[tested], labels[tested])
