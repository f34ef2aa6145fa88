"""STL-10, its labelled part: 13,000 colour photographs of 96 x 96 pixels (Coates et al. 2011)."""

from pathlib import Path

import torch

from bench.data._base import Arrays, Facts
from bench.data._official import official


class Stl10:
    """The binary files, verified by torchvision; CRD's transfer task (Table 4) has `size: 32`."""

    facts = Facts(
        name="stl10",
        classes=10,
        size=96,
        train=5_000,
        test=8_000,
        mean=(0.4467, 0.4398, 0.4066),  # as DCD's transfer_student.py
        std=(0.2603, 0.2566, 0.2712),
        fingerprint="md5:91f7769df0f17e558f3565bffb0c7dfb",
    )
    archive = "stl10_binary.tar.gz (unpacked: stl10_binary/)"

    def read(self, root: Path) -> Arrays:
        """All labelled images, in the official order; the unlabelled file may be absent."""
        from torchvision.datasets import STL10

        class Labelled(STL10):  # type: ignore[misc]
            train_list = STL10.train_list[:2]

        train, test = official(
            self.facts.name,
            self.archive,
            root,
            lambda download: [
                Labelled(root, split, download=download) for split in ("train", "test")
            ],
        )
        tensors = ((torch.from_numpy(s.data), torch.from_numpy(s.labels)) for s in (train, test))
        (images, labels), (unseen, answers) = tensors
        return Arrays(images, labels.long(), unseen, answers.long())
