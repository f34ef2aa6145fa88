"""The keys `probes` and `evaluate` of a suite: measures of its finished networks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator

from bench.config import fields
from bench.config.fields import allowed
from bench.config.text import Problem, Where, count, found
from bench.data import Selection
from bench.data.base import IMAGENET_CHANNELS
from bench.spec import Recipe
from bench.suite.parts import DataSet, DataSetEntry, Part, RecipeEntry

Kind = Literal["logistic", "knn", "sgd", "finetune"]
Features = Literal["pooled", "stages"]
Normalisation = Literal["source", "target", "half", "imagenet"]
BatchNorm = Literal["frozen", "drifting"]
Corruption = Literal[
    "gaussian_noise", "shot_noise", "impulse_noise", "blur", "contrast", "brightness", "pixelate",
    "jpeg", "saturate",
]  # fmt: skip
OfficialCorruption = Literal[  # files of CIFAR-100-C: 15 types, then 4 extra types
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur",
    "zoom_blur", "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate",
    "jpeg_compression", "speckle_noise", "gaussian_blur", "spatter", "saturate",
]  # fmt: skip
OFFICIAL: tuple[OfficialCorruption, ...] = get_args(OfficialCorruption)
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)
ONLY_FOR = {  # keys of a probe that have an effect only for these kinds
    "k": ("knn",),
    "features": ("logistic", "knn"),
    "recipe": ("sgd", "finetune"),
    "batch_norm": ("sgd",),
}
CHANNELS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # mean, standard deviation
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": IMAGENET_CHANNELS,
}


@dataclass(frozen=True)
class Protocol:
    """The settings of a probe that SGD trains, for example those of a published code base.

    Attributes:
        recipe: The settings of the training.
        batch_norm: `frozen`: the frozen network's batch norms use their saved statistics.
            `drifting`: they use each batch's statistics, which also update the saved statistics.
        normalise: The mean and standard deviation that normalise the images: those of the network's
            training images (`source`) or of the probe's images (`target`), or a key of `CHANNELS`.
        small_lr: Learning rate for MobileNetV2 and both ShuffleNets; None: the recipe's.
        small_init: Whether the new classifier starts with weights from N(0, 0.01²) and bias 0.
    """

    recipe: Recipe
    batch_norm: BatchNorm = "frozen"
    normalise: Normalisation = "source"
    small_lr: float | None = None
    small_init: bool = False


PROTOCOLS = {
    # eval_rep.py of github.com/winycg/HSAKD, commit 28c8dc2
    "hsakd": Protocol(
        Recipe(
            epochs=100, lr=0.1, milestones=(30, 60, 90), weight_decay=0.0, nesterov=True, crop=0,
            resized_crop=True,
        ),
        normalise="half",
    ),
    # cifar/transfer_student.py of github.com/giakoumoglou/distillers, commit a2ee80b
    "distillers": Protocol(
        Recipe(epochs=120, milestones=(30, 60, 90)),
        batch_norm="drifting", normalise="target", small_lr=0.01, small_init=True,
    ),
}  # fmt: skip
FINETUNE = Protocol(Recipe(epochs=30, lr=0.01, schedule="cosine"), small_init=True)
DEFAULT_PROTOCOL = "hsakd"
UNSUPPORTED = {"mixup": 0, "cutmix": 0, "ema": 0, "layer_decay": 1, "drop_path": 0, "clip": 0}
IMAGENET_MEAN = frozenset({"tiny_imagenet"})  # data sets that HSAKD normalises as ImageNet


Severities = Annotated[
    tuple[Annotated[fields.Whole, Ge(1), Le(5)], ...],
    Len(1),
    AfterValidator(fields.distinct),
    allowed("a list of different whole numbers from 1 to 5"),
]


class CorruptedEntry(Part):
    """Which corruptions of the test images are measured.

    Attributes:
        types: Kinds of corruptions that bench computes.
        severities: Strengths of each corruption, from 1 (weak) to 5 (strong).
    """

    types: Annotated[
        tuple[Annotated[Corruption, allowed(", ".join(CORRUPTIONS))], ...],
        Len(1),
        AfterValidator(fields.distinct),
        allowed(f"a list of different types of {', '.join(CORRUPTIONS)}"),
    ] = CORRUPTIONS
    severities: Severities = (1, 2, 3, 4, 5)


class OfficialEntry(Part):
    """Which files of CIFAR-100-C are measured.

    Attributes:
        types: Kinds of corruptions of CIFAR-100-C.
        severities: Strengths of each corruption, from 1 (weak) to 5 (strong).
    """

    types: Annotated[
        tuple[Annotated[OfficialCorruption, allowed(", ".join(OFFICIAL))], ...],
        Len(1),
        AfterValidator(fields.distinct),
        allowed(f"a list of different types of {', '.join(OFFICIAL)}"),
    ] = OFFICIAL[:15]
    severities: Severities = (1, 2, 3, 4, 5)


class EvaluateEntry(Part):
    """Measures of every finished network of a suite; measures without a key are left out.

    Attributes:
        corrupted: Accuracy in percent on corrupted test images, which bench computes.
        cifar100_c: Accuracy in percent on the official corrupted test images of CIFAR-100.
        cka: Similarity of the student's and the teacher's features (centred kernel alignment), of
            the pooled features or also of each stage.
        calibration: Whether to measure the adaptive calibration error, and the calibration error
            after temperature scaling.
        teacher_in_top5: Whether to measure how often the teacher's class is among the student's
            five most probable ones, in percent.
        classes: Whether to measure the accuracy of each class, in percent.
        agreement_floor: Whether to measure how often two seeds of a method predict the same class,
            in percent.
    """

    corrupted: Annotated[
        Annotated[CorruptedEntry, fields.true_for_defaults()] | None,
        allowed("true, or a mapping of types and severities", True),
    ] = None
    cifar100_c: Annotated[
        Annotated[OfficialEntry, fields.true_for_defaults()] | None,
        allowed("true, or a mapping of types and severities", True),
    ] = None
    cka: Annotated[Features | None, allowed("pooled or stages", "pooled")] = None
    calibration: fields.Truth = False
    teacher_in_top5: fields.Truth = False
    classes: fields.Truth = False
    agreement_floor: fields.Truth = False

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings of each measure that the suite has, by the measure's name."""
        settings: dict[str, dict[str, Any]] = {}
        for name, value in self:
            if isinstance(value, Part):
                settings[name] = value.model_dump(mode="json")
            elif value:
                settings[name] = {"features": value} if isinstance(value, str) else {}
        return settings

    def conflicts(self, dataset: DataSet, seeds: int) -> Iterator[Problem]:
        """Yield a problem for each measure that the suite's images or seeds do not allow."""
        parts = dataset.test_per_class, dataset.size
        if self.cifar100_c and (dataset.name != "cifar100" or any(parts)):
            message = "the official files are corruptions of all test images of CIFAR-100"
            fix = "dataset: cifar100 without test_per_class and size, or the key corrupted"
            yield Problem(("evaluate", "cifar100_c"), f"{message}. Allowed: {fix}")
        if self.agreement_floor and seeds < 2:
            message = f"compares two seeds of a method; found {count(seeds, 'seed')}"
            yield Problem(("evaluate", "agreement_floor"), f"{message}. Allowed: 2 or more seeds")


class ProbeEntry(Part):
    """A probe: on a data set, a classifier of a network's features, or the network fine-tuned.

    Attributes:
        dataset: Images on which the classifier is trained and tested.
        kind: Logistic regression, k nearest neighbours, a linear classifier trained by SGD, or the
            training of all layers. Default: `sgd` with a recipe, else `logistic`.
        features: Features of the classifier: the pooled ones, or also those of each stage.
        recipe: Published recipe of the training, or changes of the default recipe.
        batch_norm: Whether batch norms use their saved statistics (`frozen`) or those of each batch
            (`drifting`). Default: `frozen`, or as in the published recipe.
        normalise: Mean and standard deviation that normalise the images: those of the network's
            training images (`source`), of the probe's images (`target`), or fixed ones.
        k: Number of neighbours of `kind: knn`.
    """

    dataset: Annotated[DataSetEntry, fields.examples({"name": "stl10", "size": 32})]
    kind: Annotated[Kind | None, allowed("logistic, knn, sgd or finetune", "logistic")] = None
    features: Annotated[Features, allowed("pooled or stages")] = "pooled"
    recipe: Annotated[
        Annotated[Literal["hsakd", "distillers"], fields.tag("text")]
        | Annotated[RecipeEntry, fields.tag("mapping")]
        | Annotated[None, fields.tag("nothing")],
        fields.by_type(text=str, mapping=dict, nothing=type(None)),
        allowed("hsakd, distillers, or a mapping of the keys of a recipe", "hsakd"),
    ] = None
    batch_norm: Annotated[BatchNorm | None, allowed("frozen or drifting", "frozen")] = None
    normalise: Annotated[
        Normalisation | None, allowed("source, target, half or imagenet", "source")
    ] = None
    k: fields.Count = 20

    @property
    def chosen_kind(self) -> Kind:
        """The kind; by default `sgd` for a probe with a recipe, and `logistic` for other probes."""
        return self.kind or ("sgd" if self.recipe is not None else "logistic")

    @property
    def protocol(self) -> Protocol | None:
        """The protocol that the keys of this entry change; None if SGD does not train the probe."""
        if self.chosen_kind not in ONLY_FOR["recipe"]:
            return None
        if self.chosen_kind == "finetune":
            return FINETUNE
        return PROTOCOLS[self.recipe if isinstance(self.recipe, str) else DEFAULT_PROTOCOL]

    def conflicts(self, where: Where) -> Iterator[Problem]:
        """Yield a problem for each key without effect and each contradiction in the recipe."""
        kind = self.chosen_kind
        for key, kinds in ONLY_FOR.items():
            if key in self.model_fields_set and kind not in kinds:
                allowed_kinds = " or ".join(f"kind: {name}" for name in kinds)
                message = f"has no effect on kind: {kind}. Allowed: {allowed_kinds}, or no {key}"
                yield Problem((*where, key), message)
        if isinstance(self.recipe, str) and kind == "finetune":
            message = f"{self.recipe} trains only a classifier"
            fix = "kind: sgd, or a mapping of the keys of a recipe"
            yield Problem((*where, "recipe"), f"{message}. Allowed: {fix}")
        if isinstance(self.recipe, RecipeEntry) and self.protocol:
            for key, message in self.recipe.contradictions(self.protocol.recipe):
                yield Problem((*where, "recipe", key), message)
            for key, usual in UNSUPPORTED.items():
                if (value := getattr(self.recipe, key)) != usual:
                    message = f"{found(value)}; probes do not have {key}. Allowed: {usual:g}"
                    yield Problem((*where, "recipe", key), message)

    def resolved(self, name: str, data: Selection) -> "Probe":
        """Return the probe with all defaults filled in.

        Args:
            name: The probe's name in the suite.
            data: The resolved data set.
        """
        protocol = self.protocol
        if protocol is None:
            chosen = self.normalise or "source"
            return Probe(name, data, self.chosen_kind, self.features, chosen, self.k)
        recipe, usual = protocol.recipe, protocol.normalise
        if isinstance(self.recipe, RecipeEntry):
            recipe = self.recipe.over(recipe)
        if usual == "half" and data.name in IMAGENET_MEAN:
            usual = "imagenet"
        return Probe(
            name,
            data,
            self.chosen_kind,
            normalise=self.normalise or usual,
            batch_norm=self.batch_norm or protocol.batch_norm,
            recipe=recipe.reduced,
            small_lr=protocol.small_lr,
            small_init=protocol.small_init,
            published=self.recipe if isinstance(self.recipe, str) else "",
        )


Probes = Annotated[
    dict[fields.Label, ProbeEntry],
    allowed(
        "a mapping of names to {dataset, kind, …}",
        {"stl10": {"dataset": {"name": "stl10", "size": 32}}},
    ),
]
Evaluate = Annotated[EvaluateEntry, allowed("a mapping of measures", {"cka": "pooled"})]


@dataclass(frozen=True)
class Probe:
    """A resolved probe.

    Attributes:
        name: The name in the suite.
        data: The target data set.
        kind: `logistic` or `knn`: a classifier on features that are computed once; `sgd`: a linear
            classifier on a frozen network; `finetune`: all layers are trained.
        features: `pooled`; or `stages`: the pooled features and those of each stage.
        normalise: As in `Protocol`.
        k: Number of neighbours of `knn`.
        batch_norm: As in `Protocol`; only for `sgd`.
        recipe: Settings of the training; None if SGD does not train the probe.
        small_lr: As in `Protocol`.
        small_init: As in `Protocol`.
        published: Name of the code base that the recipe comes from; empty for other recipes.
        incomplete: Phrase about images of the official data set that are missing here; empty if no
            image is missing.
    """

    name: str
    data: Selection
    kind: Kind
    features: Features = "pooled"
    normalise: Normalisation = "source"
    k: int = 20
    batch_norm: BatchNorm = "frozen"
    recipe: Recipe | None = None
    small_lr: float | None = None
    small_init: bool = False
    published: str = ""
    incomplete: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that are part of run ids, without the recipe and the normalisation."""
        match self.kind:
            case "logistic":
                return {"features": self.features}
            case "knn":
                return {"features": self.features, "k": self.k}
        init = {"small_init": self.small_init}
        return init if self.kind == "finetune" else {"batch_norm": self.batch_norm, **init}
