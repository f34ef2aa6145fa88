"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 x 28 pixels (Xiao et al. 2017)."""

from pathlib import Path

from bench.data._base import Arrays, Facts
from bench.data._official import official


class FashionMnist:
    """Four compressed files under FashionMNIST/raw; torchvision verifies them before unpacking."""

    facts = Facts(
        name="fashion_mnist",
        classes=10,
        size=28,
        train=60_000,
        test=10_000,
        mean=(0.2860, 0.2860, 0.2860),
        std=(0.3530, 0.3530, 0.3530),
        # train images, train labels, test images, test labels
        fingerprint="md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d+25c81989df183df01b3e8a0aad5dffbe"
        "+bef4ecab320f06d8554ea6380940ec79+bb300cfdad3c16e7a12a480ee83cd310",
    )
    archive = "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"

    def read(self, root: Path) -> Arrays:
        """All images, one channel, in the official order."""
        from torchvision.datasets import FashionMNIST

        train, test = official(
            self.facts.name,
            self.archive,
            root,
            lambda download: [FashionMNIST(root, t, download=download) for t in (True, False)],
        )
        return Arrays(train.data[:, None], train.targets, test.data[:, None], test.targets)
