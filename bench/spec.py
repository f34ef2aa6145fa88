"""The specification of a run: data, network, teacher, method, recipe, seed.

A run trains one network once. Its id is the hash of its specification, which holds everything that
can change the result, except the device and the package versions. The run's record names these.
This module does not import torch.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.config import fields

Precision = Literal["float32", "tf32", "bf16"]
Role = Literal["teacher", "student"]


class Recipe(BaseModel):
    """The settings of training: SGD with a learning rate that falls in steps.

    The defaults are the papers' recipe for CIFAR-100: CRD (arXiv:1910.10699), section 4, as
    train_student.py of github.com/HobbitLong/RepDistiller implements it.

    Attributes:
        epochs: Number of epochs.
        batch_size: Images in a batch.
        lr: Learning rate of the first epoch.
        milestones: Epochs, counted from 1, after which the learning rate is multiplied by `decay`.
        decay: Factor of the learning rate at each milestone.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        nesterov: Whether SGD uses Nesterov's momentum.
        crop: Pixels of padding before a random crop; 0: no crop.
        flip: Whether images are flipped at random.
        resized_crop: Whether images are cropped at random and resized.
        precision: Precision of the networks; losses are computed in float32.
        evaluate_every: Epochs between two evaluations on the test set.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    epochs: fields.Count = 240
    batch_size: fields.BatchSize = 64
    lr: fields.Positive = 0.05
    milestones: fields.Epochs = (150, 180, 210)
    decay: fields.Factor = 0.1
    momentum: fields.Momentum = 0.9
    weight_decay: fields.AtLeast0 = 5e-4
    nesterov: fields.Truth = False
    crop: fields.Natural = 4
    flip: fields.Truth = True
    resized_crop: fields.Truth = False
    precision: Annotated[Precision, fields.allowed("bf16, float32, tf32")] = "float32"
    evaluate_every: fields.Count = 1


PAPERS = Recipe()
SMALL_LR_STUDENTS = frozenset({"mobilenet_v2", "shufflenet_v1", "shufflenet_v2"})
SMALL_LR = 0.01  # CRD, section 4: chosen by grid search for these students


def papers_recipe(student: str) -> Recipe:
    """Return the papers' recipe for a student network of this name."""
    return Recipe(lr=SMALL_LR) if student in SMALL_LR_STUDENTS else PAPERS


class SpecPart(BaseModel):
    """A part of a specification; numbers and text are never converted into each other."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    @property
    def content(self) -> dict[str, Any]:
        """The fields that are set, as plain JSON data."""
        return self.model_dump(mode="json", exclude_unset=True)


class DataSpec(SpecPart):
    """The images that a run uses.

    Attributes:
        name: Data set; `folder` for a folder of images.
        per_class: Training images of each class; None: all.
        test_per_class: Test images of each class; None: all.
        validation: Training images that are held out.
        size: Height and width in pixels; None: the data set's own.
        fingerprint: Hash that identifies the images.
        source: SHA-256 of the plugin that defines the data set; None: not from a plugin.
    """

    name: str = ""
    per_class: int | None = None
    test_per_class: int | None = None
    validation: int = 0
    size: int | None = None
    fingerprint: str = ""
    source: str | None = None


class TermSpec(SpecPart):
    """One distiller (loss) of a method: its weight, all options, the SHA-256 of its plugin.

    In epoch e, from 1, the weight is multiplied by min(e / warmup, 1), unless `warmup` is 0.
    """

    weight: float
    options: dict[str, Any] = {}
    source: str | None = None
    warmup: int = 0


class RunSpec(SpecPart):
    """Everything that can change the result of a run, except the device and versions.

    Attributes:
        revision: Version number; raised when the same specification gives other results.
        data: The images.
        network: Name of the network that is trained.
        source: SHA-256 of the plugin that defines the network; None: not from a plugin.
        teacher: Id of the teacher's run; None for a teacher.
        stages: Layers that end the network's stages; None: the network's own, or those found.
        teacher_stages: The same for the teacher.
        method: Distillers by name; empty for a checkpoint.
        recipe: How the network is trained; for a checkpoint, only the precision is used.
        seed: Seed of weights, order and augmentation.
        checkpoint: SHA-256 of a teacher's file of trained weights; None: the network is trained.
    """

    revision: int = 1
    data: DataSpec = DataSpec()
    network: str
    source: str | None = None
    teacher: str | None = None
    stages: list[str] | None = None
    teacher_stages: list[str] | None = None
    method: dict[str, TermSpec] = {}
    recipe: Recipe = PAPERS
    seed: int
    checkpoint: str | None = None

    @property
    def role(self) -> Role:
        """`teacher` for a teacher's run, else `student`."""
        return "teacher" if self.teacher is None else "student"

    @property
    def epochs(self) -> int:
        """Epochs of training; 0 for a checkpoint."""
        return 0 if self.checkpoint else self.recipe.epochs

    @property
    def id(self) -> str:
        """The run's id: sixteen hex digits of the hash of its specification."""
        return content_hash(self.content)


def content_hash(content: Any) -> str:
    """Return sixteen hex digits of the SHA-256 of the content's canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
