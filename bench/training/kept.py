"""Outputs of a frozen teacher on disk, for methods that are trained later (`--keep-teacher`).

A teacher's outputs for an epoch depend on its weights, the images, their augmentation and the
batches, but not on the students. A later method that reads only logits and pooled features
therefore needs no teacher: reading its outputs gives the same bits as computing them again on the
same machine.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.results import Unwritable
from bench.results.environment import environment
from bench.spec import Recipe, RunSpec, content_hash
from distillers import Features
from distillers.base import FeatureName

KEPT: frozenset[FeatureName] = frozenset({"pooled", "logits"})
# Settings of training that change neither the images nor the teacher's outputs.
OF_STUDENTS = {
    "epochs", "lr", "milestones", "decay", "momentum", "weight_decay", "nesterov",
    "evaluate_every", "optimizer", "schedule", "warmup", "min_lr", "clip", "ema", "layer_decay",
    "drop_path",
}  # fmt: skip

MACHINE = ("torch", "torchvision", "timm", "cuda", "device", "threads")

TeacherPass = Callable[[Tensor, Tensor | None], Sequence[Features]]


def key_of_outputs(spec: RunSpec, sha256: str, device: torch.device, stages: Sequence[str]) -> str:
    """Return a hash of all inputs of a teacher's outputs.

    Args:
        spec: The specification of one of the students.
        sha256: SHA-256 of the teacher's weights.
        device: The device that computes.
        stages: The declared layers of the teacher's stages; empty if no student reads stages.
    """
    machine = environment(device, spec.recipe.precision)
    parts = {
        "teacher": [spec.teacher, sha256],  # the id depends on plugins, options and images
        "stages": list(stages),
        "view": spec.teacher_view,
        "revision": spec.revision,
        "data": spec.data.content,
        "seed": spec.seed,
        "recipe": Recipe.model_dump(spec.recipe, mode="json", exclude=OF_STUDENTS),
        "machine": {key: machine[key] for key in MACHINE},
    }
    return content_hash(parts)


class KeptOutputs:
    """The logits and pooled features of a teacher, one file for each epoch.

    A file has a row for each training image, in the order of the epoch: (N, Σ_m (K_m + D_m))
    float32, for members m of the teacher with K logits and D pooled features. It is mapped into
    memory, so an epoch may be larger than the memory. Its name contains a part of its SHA-256,
    which is verified before the file is read. A damaged file is computed again.

    Args:
        folder: The folder of all kept outputs.
        key: Result of `key_of_outputs`; file names begin with it.
        count: N, the number of training images.
        sizes: (K_m, D_m) of each member.
        device: The device of the features.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        count: int,
        sizes: Sequence[tuple[int, int]],
        device: torch.device,
    ) -> None:
        self._folder, self._key = folder, key
        self._count, self._device = count, device
        self._widths = [width for pair in sizes for width in pair]
        self._rows = np.empty((0, 0), np.float32)
        self._next = 0
        self._written: Path | None = None

    def reading(self, epoch: int) -> TeacherPass | None:
        """Return a pass that reads the outputs of an epoch in order; None: no valid file."""
        for path in self._files(epoch):
            with suppress(FileNotFoundError):  # another worker may delete a damaged file
                if _digest(path) == path.stem.rpartition(".")[2]:
                    self._rows, self._next = np.load(path, mmap_mode="r"), 0
                    return self._read
                path.unlink()
        return None

    def writing(self, epoch: int, teacher: TeacherPass) -> TeacherPass:
        """Return a teacher's pass that also writes its outputs, unless there is a file of them."""
        if any(self._files(epoch)):
            return teacher
        path = self._folder / f".{self._key}.{epoch}.{os.getpid()}.part"
        shape = (self._count, sum(self._widths))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            rows = np.lib.format.open_memmap(path, "w+", np.float32, shape)
            if hasattr(os, "posix_fallocate"):  # else a full disk would kill this process later
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise Unwritable(f"{path}: cannot be written: {error.strerror or error}") from error
        self._rows, self._next, self._written = rows, 0, path

        def compute(images: Tensor, strong: Tensor | None) -> Sequence[Features]:
            members = teacher(images, strong)
            columns = [part for member in members for part in (member.logits, member.pooled)]
            end = self._next + len(images)
            self._rows[self._next : end] = torch.cat(columns, 1).cpu().numpy()
            self._next = end
            return members

        return compute

    def close(self, epoch: int, *, complete: bool) -> None:
        """End an epoch: keep the written file if the epoch was complete, else delete it.

        A last batch of one image is not used, so its row stays zero.
        """
        written, self._written = self._written, None
        self._rows = np.empty((0, 0), np.float32)
        if written is None:
            return
        if complete and self._next >= self._count - 1:
            written.rename(self._folder / f"{self._key}.{epoch}.{_digest(written)}.npy")
        else:
            written.unlink()

    def _files(self, epoch: int) -> Iterator[Path]:
        return self._folder.glob(f"{self._key}.{epoch}.*.npy")

    def _read(self, images: Tensor, strong: Tensor | None) -> Sequence[Features]:
        end = self._next + len(images)
        rows = torch.from_numpy(np.array(self._rows[self._next : end])).to(self._device)
        self._next = end
        parts = [part.contiguous() for part in torch.split(rows, self._widths, 1)]
        return [
            Features((), pooled, logits)
            for logits, pooled in zip(parts[::2], parts[1::2], strict=True)
        ]


def kept_bytes(count: int, epochs: int, sizes: Sequence[tuple[int, int]]) -> int:
    """Return the bytes of the outputs of all epochs; the arguments are those of `KeptOutputs`."""
    return 4 * count * epochs * sum(logits + pooled for logits, pooled in sizes)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
