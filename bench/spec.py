"""The specification of a run: data, network, teacher, method, recipe, seed.

Most runs train one network once. A run's id is the hash of its specification. The specification
holds everything that can change the result, except the device and the versions of packages. The
run's record names the device and the versions. This module does not import torch.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.config import fields

Precision = Literal["float32", "tf32", "bf16"]
Optimizer = Literal["sgd", "adamw", "lamb"]
Schedule = Literal["step", "cosine"]
Role = Literal["teacher", "student", "ensemble", "probe"]

PROBE = "probe."  # begins the names of probes in plans and tables, such as probe.stl10.top1
# Optimisers without CUDA graphs: timm's LAMB computes with the number of the step in Python.
UNCAPTURED = frozenset({"lamb"})

# Keys of the first version of recipes; run ids contain each of them. A later key is in an id only
# if it differs from its default. Old ids therefore stay valid.
FIRST_KEYS = (
    "epochs", "batch_size", "lr", "milestones", "decay", "momentum", "weight_decay", "nesterov",
    "crop", "flip", "resized_crop", "precision", "evaluate_every",
)  # fmt: skip
NEEDS = {  # keys that have an effect only with this value of another key
    "momentum": ("optimizer", "sgd"),
    "nesterov": ("optimizer", "sgd"),
    "milestones": ("schedule", "step"),
    "decay": ("schedule", "step"),
    "min_lr": ("schedule", "cosine"),
}


class Recipe(BaseModel):
    """The settings of training: by default, SGD with a learning rate that falls in steps.

    The defaults are the papers' recipe for CIFAR-100: CRD (arXiv:1910.10699), section 4, as
    train_student.py of github.com/HobbitLong/RepDistiller implements it.

    Attributes:
        epochs: Number of epochs.
        batch_size: Images in a batch.
        lr: Learning rate of the first epoch.
        milestones: Epochs, counted from 1, after which the learning rate is multiplied by `decay`.
        decay: Factor of the learning rate at each milestone.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of the optimiser.
        nesterov: Whether SGD uses Nesterov's momentum.
        crop: Pixels of padding before a random crop; 0: no crop.
        flip: Whether images are flipped at random.
        resized_crop: Whether a random part of each image is resized to the full size.
        precision: Precision of the networks; losses are always computed in float32.
        evaluate_every: Epochs between two evaluations on the test set.
        randaugment: Magnitude of RandAugment's two random operations per image; 0: off.
        erasing: Probability that a random rectangle of an image is erased.
        mixup: α of mixup, which adds images to images of the same batch; 0: off.
        cutmix: α of CutMix, which pastes rectangles of images of the same batch; 0: off.
        smoothing: Share of the labels' probability that all classes share equally.
        optimizer: `sgd`, `adamw` (torch's) or `lamb` (timm's).
        schedule: `step`: the learning rate falls at the milestones. `cosine`: the learning rate
            falls from `lr` to `min_lr` as half a cosine wave.
        warmup: Number of epochs in which the learning rate grows linearly to `lr`; 0: no warmup.
        min_lr: Learning rate at the end of the cosine.
        clip: Largest norm of the gradient of all parameters; 0: gradients are not clipped.
        ema: Decay of the average of the network's weights, which is evaluated and saved instead of
            the network; 0: no average.
        layer_decay: Factor of the learning rate from each layer to the layer before; 1: none.
        drop_path: Largest probability of stochastic depth; 0: none.
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
    randaugment: Annotated[fields.Magnitude, fields.examples(9)] = 0
    erasing: Annotated[fields.Probability, fields.examples(0.25)] = 0.0
    mixup: Annotated[fields.AtLeast0, fields.examples(0.8)] = 0.0
    cutmix: Annotated[fields.AtLeast0, fields.examples(1.0)] = 0.0
    smoothing: Annotated[fields.Share, fields.examples(0.1)] = 0.0
    optimizer: Annotated[Optimizer, fields.allowed("sgd, adamw, lamb")] = "sgd"
    schedule: Annotated[Schedule, fields.allowed("step, cosine")] = "step"
    warmup: Annotated[fields.Natural, fields.allowed("a whole number of epochs, 0 or more", 20)] = 0
    min_lr: Annotated[fields.AtLeast0, fields.examples(1e-5)] = 0.0
    clip: Annotated[fields.AtLeast0, fields.examples(5)] = 0.0
    ema: Annotated[fields.Momentum, fields.examples(0.999)] = 0.0
    layer_decay: Annotated[fields.Factor, fields.examples(0.75)] = 1.0
    drop_path: Annotated[fields.Momentum, fields.examples(0.1)] = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images are mixtures of two images, so that they have no single label."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def unused(self) -> frozenset[str]:
        """The keys without effect: those of another optimiser or schedule."""
        return frozenset(k for k, (key, value) in NEEDS.items() if getattr(self, key) != value)

    def changed(self, values: Mapping[str, Any]) -> "Recipe":
        """Return the reduced recipe with other values of some keys."""
        return Recipe(**{**self.model_dump(), **values}).reduced

    @property
    def reduced(self) -> "Recipe":
        """The same recipe, in which only the keys that a run id contains are set."""
        defaults = type(self).model_fields
        return Recipe(
            **{
                key: value
                for key, value in self
                if key not in self.unused and (key in FIRST_KEYS or value != defaults[key].default)
            }
        )


PAPERS = Recipe()
SMALL_LR_STUDENTS = frozenset({"mobilenet_v2", "shufflenet_v1", "shufflenet_v2"})
SMALL_LR = 0.01  # for `SMALL_LR_STUDENTS`; CRD's authors chose it by grid search (section 4)


def papers_recipe(student: str) -> Recipe:
    """Return the papers' recipe for a student, by the name of the student's network."""
    return Recipe(lr=SMALL_LR) if student in SMALL_LR_STUDENTS else PAPERS


class SpecPart(BaseModel):
    """A part of a specification. Texts are not converted to numbers: "1" is refused for 1."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    @property
    def content(self) -> dict[str, Any]:
        """The fields whose values were passed explicitly, as JSON data.

        A passed value is included even if it equals the default.
        """
        return self.model_dump(mode="json", exclude_unset=True)


class DataSpec(SpecPart):
    """The images that a run uses.

    Attributes:
        name: Name of the data set; for a folder of images, `folder`, so that run ids do not depend
            on the folder's path.
        per_class: Training images of each class; None: all.
        test_per_class: Test images of each class; None: all.
        validation: Number of training images that are held out for validation.
        size: Height and width in pixels to which images are resized; None: the original size.
        fingerprint: Hash that identifies the images.
        source: SHA-256 of the plugin that defines the data set; None for a built-in data set.
        split: `unlabelled` for the training images without labels; `train` for the others.
        held_out: Number of training images on which the run is evaluated, instead of the test
            images; it does not train on them. 0: the run is evaluated on the test images.
    """

    name: str = ""
    per_class: int | None = None
    test_per_class: int | None = None
    validation: int = 0
    size: int | None = None
    fingerprint: str = ""
    source: str | None = None
    split: Literal["train", "unlabelled"] = "train"
    held_out: int = 0


class TermSpec(SpecPart):
    """One distiller (loss) of a method, with its weight and its options.

    Attributes:
        weight: Factor of the loss in the method's sum.
        options: Values of all options, by name.
        source: SHA-256 of the plugin that defines the distiller; None for a built-in distiller.
        warmup: Number of epochs in which the weight grows from 0: in epoch e = 1, 2, …, the weight
            is multiplied by min(e / warmup, 1). 0: the weight is constant.
    """

    weight: float
    options: dict[str, Any] = {}
    source: str | None = None
    warmup: int = 0


class RunSpec(SpecPart):
    """Everything that can change the result of a run, except the device and package versions.

    Most runs train their network. Three kinds do not: a checkpoint (a file of a teacher's trained
    weights), an ensemble of trained teachers, and a probe, which measures a finished network.

    Attributes:
        revision: Version of the training code; raised when a code change alters results.
        data: The images.
        network: Name of the network.
        source: SHA-256 of the plugin that defines the network; None for other networks.
        teacher: Id of the teacher's run; None if this run is a teacher's.
        stages: Names of the layers whose outputs are the network's stages; None: the default
            stages of the network.
        teacher_stages: Names of the layers whose outputs are the teacher's stages; None: the
            default stages of the teacher.
        method: Distillers by name, whose weighted sum is the loss; empty for a checkpoint.
        recipe: Settings of the training; for a checkpoint, only the precision is used.
        seed: Seed of the initial weights, the order of images and the augmentation.
        checkpoint: SHA-256 of the checkpoint; None if the run trains its network.
        pretrained: Whether the network begins with the weights of timm or torchvision.
        init: SHA-256 of the file whose weights the network begins with; None: random weights.
        options: Arguments of the constructor of a network of timm or torchvision.
        members: Ids of the teachers' runs that form an ensemble; empty for other runs.
        combine: Whether a student's losses are summed or averaged over an ensemble's members.
        subject: Id of the run whose network a probe measures; None for other runs.
        measure: Kind and settings of a probe; empty for other runs.
        view: The view of the images that the network sees, such as `grey` (`bench/data/views.py`).
        teacher_view: The view of the images that the teacher sees.
        undecided: Whether the trials that choose the method's settings have not ended. Such a run
            never starts; it stands for the run with the chosen settings.
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
    pretrained: bool = False
    init: str | None = None
    options: dict[str, Any] = {}
    members: list[str] = []
    combine: Literal["sum", "mean"] = "sum"
    subject: str | None = None
    measure: dict[str, Any] = {}
    view: str = "rgb"
    teacher_view: str = "rgb"
    undecided: bool = False

    @property
    def role(self) -> Role:
        """`probe`, `ensemble`, `student` (a run with a teacher), or `teacher` for other runs."""
        if self.subject:
            return "probe"
        if self.members:
            return "ensemble"
        return "teacher" if self.teacher is None else "student"

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the runs that must end before this run: teacher, subject, members."""
        return tuple(filter(None, (self.teacher, self.subject, *self.members)))

    @property
    def epochs(self) -> int:
        """Epochs of training; 0 for a run that does not train."""
        return self.recipe.epochs if self.method else 0

    @property
    def id(self) -> str:
        """The run's id: sixteen hex digits of the hash of its specification."""
        return content_hash(self.content)


def content_hash(content: Any) -> str:
    """Return sixteen hex digits of the SHA-256 of the content as JSON with sorted keys."""
    return text_hash(canonical_json(content))


def canonical_json(content: Any) -> str:
    """Return the content as JSON with sorted keys and without spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def text_hash(text: str) -> str:
    """Return sixteen hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
