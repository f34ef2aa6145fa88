"""Parts of a suite file: data sets, views, changes of recipes, teachers, networks, terms."""

from collections.abc import Iterator
from math import isfinite
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Le, Len
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from bench.config import fields
from bench.config.fields import allowed
from bench.config.text import found
from bench.data.views import RGB, VIEWS
from bench.spec import NEEDS, Recipe

RESERVED_OPTIONS = {  # constructors' arguments that the program sets, or that would read files
    "model_name", "name", "num_classes", "weights", "weights_backbone", "checkpoint_path",
    "cache_dir", "scriptable", "exportable", "no_jit", "features_only", "in_chans",
    "drop_path_rate",
}  # fmt: skip
EXAMPLE_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
NO_EFFECT = {"momentum": "0", "nesterov": "false", "milestones": "[]", "min_lr": "0"}


class Part(BaseModel):
    """A mapping that may contain only the fields of its class."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeEntry(Recipe):
    """The recipe keys that one place of a suite sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def over(self, recipe: Recipe) -> Recipe:
        """Return `recipe` with this entry's keys replaced, and without keys that have no effect."""
        return recipe.changed(self.model_dump(exclude_unset=True))

    def contradictions(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Yield a key of this entry and a message for each contradiction with `recipe`."""
        values = Recipe(**recipe.model_dump() | self.model_dump(exclude_unset=True))
        keys = self.model_fields_set
        if values.nesterov and not values.momentum and keys & {"nesterov", "momentum"}:
            message = "nesterov needs a momentum. Allowed: nesterov false, or a momentum above 0"
            yield min(keys & {"nesterov", "momentum"}), message
        for key in sorted(values.unused & keys & NO_EFFECT.keys()):
            if value := getattr(values, key):
                other, needed = NEEDS[key]
                message = f"{found(value)} with {other}: {getattr(values, other)}"
                yield key, f"{message}. Allowed: {other}: {needed}, or {key}: {NO_EFFECT[key]}"
        if values.min_lr > values.lr and keys & {"min_lr", "lr"}:
            message = f"min_lr {values.min_lr:g} is above lr {values.lr:g}"
            yield max(keys & {"min_lr", "lr"}), f"{message}. Allowed: a min_lr from 0 to lr"


RecipeChanges = Annotated[
    RecipeEntry, allowed("a mapping of the keys of a recipe", {"epochs": 100, "lr": 0.01})
]
Images = Annotated[fields.Count | None, allowed("a whole number of images, at least 1", 32)]


class DataSet(Part):
    """A data set, or a subset of it.

    Attributes:
        name: Name of the data set.
        per_class: Number of training images of each class. Default: all.
        test_per_class: Number of test images of each class. Default: all.
        validation: Number of training images that are held out for validation, equally many of each
            class.
        size: Height and width in pixels to which images are resized. Default: the original size,
            which a folder of images does not have.
        split: Training images with labels (`train`) or without labels (`unlabelled`).
    """

    name: Annotated[
        fields.Text, allowed("the name of a data set, or folder:/path/to/images", "cifar100")
    ]
    per_class: Images = None
    test_per_class: Images = None
    validation: fields.Natural = 0
    size: Annotated[
        Annotated[fields.Whole, Ge(4), Le(4096)] | None,
        allowed("a whole number of pixels, 4 to 4096", 32),
    ] = None
    split: Annotated[Literal["train", "unlabelled"], allowed("train, unlabelled")] = "train"


DataSetEntry = Annotated[
    DataSet, fields.shorthand("name"), allowed("the name of a data set, or {name, per_class, …}")
]


CHANNELS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "channels": {
            "description": "Numbers of the channels that the network sees, from 0.",
            "examples": [[0, 2]],
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 1,
            "maxItems": 3,
        }
    },
    "required": ["channels"],
    "additionalProperties": False,
}


def _channels(entry: Any) -> Any:
    """Return the view `channels: [0, 2]` as `channels:0+2`, and other entries unchanged."""
    numbers = entry.get("channels") if isinstance(entry, dict) and len(entry) == 1 else None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        return entry
    return f"channels:{'+'.join(map(str, numbers))}"


ViewName = Annotated[
    fields.Text,
    fields.ShortForm(_channels, lambda _: CHANNELS_SCHEMA),
    allowed(f"{', '.join(VIEWS)}, or a modality", "grey"),
]


class ViewsEntry(Part):
    """The views (functions of an image) of the teacher and the student.

    Attributes:
        teacher: View of each image that the teacher sees.
        student: View of each image that the student sees.
    """

    teacher: ViewName = RGB
    student: ViewName = RGB


Views = Annotated[
    ViewsEntry,
    allowed("a mapping of teacher and student to a view", {"teacher": "rgb", "student": "low:8"}),
]


class FileEntry(Part):
    """A file of weights, with the expected checksum.

    Attributes:
        path: Path of the file of weights.
        sha256: SHA-256 of the file. Default: not checked.
    """

    path: Annotated[
        fields.Text, allowed("a path, relative to the suite file", "weights/resnet32x4.pth")
    ]
    sha256: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None,
        allowed("64 hex digits in lower case", EXAMPLE_SHA256),
    ] = None


class CheckpointEntry(FileEntry):
    """The file of a trained teacher, with the expected checksum and accuracy.

    Attributes:
        top1: Test accuracy of the teacher in percent. Default: not checked.
        tolerance: Largest accepted difference from `top1`, in percentage points.
    """

    top1: Annotated[fields.Percent | None, allowed("test accuracy in percent, 0 to 100", 79.42)] = (
        None
    )
    tolerance: fields.Percent = 0.1


def _plain(value: Any) -> Any:
    """Return a constructor's option; refuse all but texts, finite numbers and lists of them."""
    items = value if isinstance(value, list) else [value]
    if not all(
        isinstance(item, str) or (isinstance(item, int | float) and isfinite(item))
        for item in items
    ):
        raise PydanticCustomError(fields.CUSTOM, found(value))
    return value


_SCALAR = {"type": ["string", "number", "boolean"]}
Option = Annotated[
    Any,
    AfterValidator(_plain),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
    allowed("a text, a number, true, false, or a list of them"),
]


class NetworkEntry(Part):
    """A suite's settings of a network.

    `options` and `pretrained` are only for networks of timm and torchvision. `init` is for all
    networks, and names a file of weights with which training begins.

    Attributes:
        stages: Names of the layers whose outputs are the network's stages. Default: the last layer
            of each resolution.
        pretrained: Whether training begins with the default weights of timm or torchvision.
        init: File of the weights with which training begins. Default: random weights.
        options: Arguments of the network's constructor in timm or torchvision.
    """

    stages: Annotated[
        Annotated[tuple[fields.Text, ...], Len(1, 64), AfterValidator(fields.distinct)] | None,
        allowed(
            "a list of different layers, early to late, e.g. [layer1, layer2, layer3]",
            ["layer1", "layer2", "layer3"],
        ),
    ] = None
    pretrained: fields.Truth = False
    init: Annotated[
        Annotated[FileEntry, fields.shorthand("path")] | None,
        allowed("a path, or {path, sha256}", "weights/resnet32x4.pth"),
    ] = None
    options: Annotated[
        dict[fields.Text, Option],
        allowed(
            "a mapping of the constructor's arguments, e.g. {img_size: 32, patch_size: 4}",
            {"img_size": 32, "patch_size": 4},
        ),
    ] = {}


Networks = Annotated[
    dict[fields.Network, NetworkEntry],
    allowed(
        "a mapping of networks to {stages, pretrained, init, options}",
        {"timm:resnet18": {"pretrained": True}},
    ),
]
Plugins = Annotated[tuple[fields.Text, ...], allowed("a list of paths of .py files", ["mine.py"])]


class TermEntry(BaseModel):
    """One distiller of a method: weight, warmup, and the distiller's options as further keys.

    Attributes:
        weight: Factor of the loss in the method's sum.
        warmup: Number of epochs in which the weight grows linearly from 0. 0: constant weight.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    weight: Annotated[fields.AtLeast0, fields.examples(1.0)]
    warmup: Annotated[fields.Natural, allowed("a whole number of epochs, 0 or more")] = 0

    @property
    def options(self) -> dict[str, Any]:
        """All keys except the weight and the warmup."""
        return self.model_extra or {}


DistillerName = Annotated[fields.Text, allowed("the name of a distiller")]
SharedOptions = Annotated[
    dict[DistillerName, dict[fields.Text, Any]],
    allowed("a mapping of distillers to {option: value}", {"crd": {"negatives": 4096}}),
]
TERMS_ALLOWED = "papers, or a mapping of distillers to a weight or to {weight, options}"
WEIGHT = allowed("a weight, or a mapping of weight and options")
Term = Annotated[TermEntry, fields.shorthand("weight"), WEIGHT]
Terms = dict[DistillerName, Term]  # empty: the student is not trained
TERMS = f"{fields.TAGGED}terms"  # messages omit this part of a place


class OwnMethod(Part):
    """A method in a suite: its label, and its distillers (None: the papers' distillers).

    Attributes:
        label: Name of the method in tables. Default: the papers' label, or the method's name.
        terms: The distillers, each with its weight and options.
    """

    label: Annotated[
        fields.Title | None, allowed("one line of text, at most 200 long", "Ours (T=1)")
    ] = None
    terms: Annotated[Terms | None, allowed(TERMS_ALLOWED)] = Field(default=None, alias="\0terms")


def _split_label(entry: Any) -> Any:
    """Return the mapping of a method as the fields of `OwnMethod`."""
    if not isinstance(entry, dict) or "label" not in entry:
        return {TERMS: entry} if isinstance(entry, dict) else entry
    terms = {name: term for name, term in entry.items() if name != "label"}
    return {"label": entry["label"], TERMS: terms or None}


MethodEntry = Annotated[
    Annotated[OwnMethod, BeforeValidator(_split_label), fields.tag("terms")]
    | Annotated[Literal["papers"], fields.tag("text")]
    | Annotated[None, fields.tag("nothing")],
    fields.by_type(terms=dict, text=str, nothing=type(None)),
    allowed(TERMS_ALLOWED),
]


class TeacherRun(Part):
    """A teacher that is the student of another pair, trained with a method of the suite.

    Attributes:
        pair: Name of the pair whose student is the teacher.
        method: Method with which that student was trained.
    """

    pair: Annotated[fields.Title, allowed("the name of another pair", "resnet110/resnet56")]
    method: Annotated[fields.Label, allowed("the name of a method of the suite", "kd")]


TeacherEntry = Annotated[
    Annotated[fields.Text, fields.tag("text")] | Annotated[TeacherRun, fields.tag("mapping")],
    fields.by_type(text=str, mapping=dict),
    allowed("the name of a network, or {pair: …, method: …}"),
]
PairName = Annotated[
    str, StringConstraints(pattern=r"^[^,|=\[\]*?\n]{1,200}$", strip_whitespace=True)
]
Source = Literal[
    "crd", "torchdistill", "mdistiller", "dist", "reviewkd", "ttm", "norm", "hsakd", "wsld", "takd",
    "yasar",
]  # fmt: skip
SOURCES: tuple[str, ...] = get_args(Source)
PublishedSource = Annotated[Source | None, allowed(", ".join(SOURCES), "hsakd")]


class Ensembles(Part):
    """Ensembles of teachers: a student's losses are summed or averaged over the members.

    Attributes:
        combine: Whether the losses of the members are summed or averaged.
    """

    combine: Annotated[Literal["sum", "mean"], allowed("sum, mean")] = "sum"


class Teachers(Part):
    """The training of teachers; by default, one teacher with seed 0 serves all students of a pair.

    Attributes:
        dataset: Data set on which teachers are trained. Default: the labelled images of the suite's
            data set.
        seed: Seed of all teachers; `same`: each student has a teacher with its own seed.
        recipe: Changes of the suite's recipe for the training of teachers.
        checkpoints: Files of trained teachers, by network. Such a teacher is not trained.
    """

    dataset: Annotated[DataSetEntry | None, fields.examples("cifar100")] = None
    seed: Annotated[
        Annotated[fields.Whole, Ge(0), Le(1_000_000), fields.tag("number")]
        | Annotated[Literal["same"], fields.tag("text")],
        fields.by_type(number=int, text=str),
        allowed("a whole number, 0 or more, or same (the student's seed)"),
    ] = 0
    recipe: RecipeChanges = RecipeEntry()
    checkpoints: Annotated[
        dict[fields.Text, Annotated[CheckpointEntry, fields.shorthand("path")]],
        allowed(
            "a mapping of networks to a path or to {path, sha256, top1, tolerance}",
            {"resnet32x4": {"path": "weights/resnet32x4.pth", "top1": 79.42}},
        ),
    ] = {}
