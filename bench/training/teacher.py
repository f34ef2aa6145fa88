"""Teachers: load a network's trained weights from a file, and compute the network's features."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from bench import models
from bench.data import Data, Facts
from bench.data.views import View
from bench.errors import BenchError, TeacherRefused
from bench.models.head import PREFIX
from bench.planning.estimate import build_for_estimate
from bench.planning.plan import Plan
from bench.plugins import BUILTIN, Registry
from bench.results import Results, verify
from bench.results.record import Record, TeacherInfo
from bench.spec import Recipe, RunSpec
from bench.suite import Checkpoint, InitialWeights, at_line
from bench.training import pretrained
from bench.training.evaluation import compute
from bench.training.pretrained import Contents, Fit
from distillers import Features, Setting
from distillers.base import FeatureName, has_head, reads_of_teacher


def checkpoint_problems(plan: Plan) -> list[str]:
    """Open every file of weights that a suite names, and compare its tensors with the network.

    Args:
        plan: The plan of the suite.

    Returns:
        A line `suite.yaml:7  teachers.checkpoints.NAME: …`, or `… networks.NAME.init: …`, for each
        file that cannot be used.
    """
    suite = plan.suite
    lines = []
    checkpoints = {p.teacher.network: p.teacher.checkpoint for p in suite.pairs}
    files: list[tuple[str, str, Checkpoint | InitialWeights, bool]] = [
        (f"teachers.checkpoints.{network}", network, checkpoint, False)
        for network, checkpoint in checkpoints.items()
        if checkpoint
    ]
    files += [(f"networks.{name}.init", name, file, True) for name, file in suite.init.items()]
    for place, network, file, is_init in files:
        if not file.path.exists():  # a suite may give a SHA-256 for a file that is not here
            continue
        others = suite.registry, suite.networks
        try:
            facts = plan.facts_of("student" if is_init else "teacher")
            fit_checkpoint(file.path, network, facts, *others, any_classes=is_init)
        except BenchError as error:
            lines.append(at_line(suite, place, str(error)))
    return lines


def fit_checkpoint(
    path: Path,
    network: str,
    facts: Facts,
    registry: Registry,
    others: Iterable[str],
    *,
    any_classes: bool = False,
) -> Fit:
    """Find the tensors of a checkpoint that fit a network.

    Args:
        path: The checkpoint.
        network: The network's name.
        facts: Facts of the data set; the number of classes and the image size are used.
        registry: The networks that the suite can use, by name.
        others: Names of networks that a refusal mentions if the checkpoint fits them.
        any_classes: Whether the classifier may have another number of classes, so that its tensors
            are left out.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is not a checkpoint of this network.
    """
    contents = pretrained.read(path)
    try:
        return fit(contents, network, facts, registry, any_classes=any_classes)
    except TeacherRefused as error:
        fits = partial(_is_fit, contents, facts=facts, registry=registry, any_classes=any_classes)
        names = [name for name in others if fits(name)]
        if not names:
            raise
        hint = f"It fits another network of the suite: {', '.join(names)}"
        raise TeacherRefused(f"{error}. {hint}") from error


def fit(
    contents: Contents, network: str, facts: Facts, registry: Registry, *, any_classes: bool = False
) -> Fit:
    """Find the tensors of a file that fit a network; raise TeacherRefused if there are none."""
    net = build_for_estimate(partial(registry.build_network, network, facts.classes, facts.size))
    if any_classes:
        classifier = models.classifier_layer(net, facts.size)
        return pretrained.fit(contents, net, f"a {network}", classifier)
    return pretrained.fit(contents, net, f"a {network} of {facts.classes} classes")


def _is_fit(
    contents: Contents, network: str, facts: Facts, registry: Registry, *, any_classes: bool
) -> bool:
    try:
        fit(contents, network, facts, registry, any_classes=any_classes)
    except BenchError:
        return False
    return True


class Averaged(nn.Module):
    """An ensemble's prediction: the logarithms of the members' mean probabilities.

    Args:
        members: The members' networks.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S); logits are log((1/M) Σ_m p_m), (B, K)."""
        features: list[Features] = [member(images) for member in self.members]
        log_p = torch.stack([F.log_softmax(each.logits.float(), dim=1) for each in features])
        logits = log_p.logsumexp(0) - math.log(len(features))
        return replace(features[0], logits=logits)


class Teacher:
    """Frozen networks in eval mode, shared by all students of a cohort.

    Args:
        nets: The network, or the members of an ensemble.
        data: The data set. The networks are moved to the data set's device.
        recipe: The training settings; only the precision is used.
        reads: The fields of `Features` that the students' distillers read.
        view: The view of the images that the network sees; None: the images themselves.

    Attributes:
        nets: The networks.
        net: The network whose predictions are the teacher's: the only one, or the ensemble.
        view: The view.
        shapes: Shapes of each network's features.
    """

    def __init__(
        self,
        nets: Sequence[nn.Module],
        data: Data,
        recipe: Recipe,
        reads: Collection[FeatureName] = (),
        view: View | None = None,
    ) -> None:
        self._size, device, self.view = data.facts.size, data.train_labels.device, view
        self.shapes = [models.shapes(net, self._size, reads) for net in nets]
        moved = (net.to(device, memory_format=torch.channels_last) for net in nets)  # type: ignore[call-overload]
        self.nets = [net.eval().requires_grad_(False) for net in moved]
        self.net = self.nets[0] if len(self.nets) == 1 else Averaged(self.nets)
        self.recipe = recipe
        self._readers: dict[frozenset[FeatureName], list[Callable[[Tensor], Features]]] = {}

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        strong: Tensor | None = None,
        reads: Collection[FeatureName] = frozenset({"stages"}),
    ) -> list[Features]:
        """Compute each network's features of a batch.

        Args:
            images: The batch's images in the teacher's view, (B, 3, H, W).
            strong: A second, strongly augmented view of the images; its features become the field
                `strong`. None: no such view.
            reads: The fields of `Features` to compute, besides `pooled` and `logits`; fields that
                the network does not have are left out.

        Returns:
            The features in float32, of each network.
        """
        fields = frozenset(reads)
        if fields not in self._readers:
            self._readers[fields] = [
                models.reader(net, self._size, fields.difference(dict(shapes.missing)))
                for net, shapes in zip(self.nets, self.shapes, strict=True)
            ]
        return [compute(read, images, strong, reads, self.recipe) for read in self._readers[fields]]


def load(
    network: str,
    facts: Facts,
    path: Path,
    registry: Registry = BUILTIN,
    stages: Sequence[str] = (),
) -> nn.Module:
    """Build a network and load its weights from a file.

    Args:
        network: The network's name.
        facts: Facts of the data set; the number of classes and the image size are used.
        path: The file with the weights.
        registry: The networks that the suite can use, by name.
        stages: Names of the layers that end the network's stages; (): its default stages.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file does not hold weights that fit this network.
    """
    net = registry.build_network(network, facts.classes, facts.size, stages)
    name = f"a {network} of {facts.classes} classes"
    pretrained.load_into(net, pretrained.fit(pretrained.read(path), net, name).state)
    return net


def load_members(
    network: str,
    members: int,
    facts: Facts,
    path: Path,
    registry: Registry = BUILTIN,
    stages: Sequence[str] = (),
) -> list[nn.Module]:
    """Build the networks of an ensemble and load their weights from one file.

    Args:
        network: The name of the members' network.
        members: Number of members.
        facts: Facts of the data set; the number of classes and the image size are used.
        path: The file, which holds the tensors of `member_weights`.
        registry: The networks that the suite can use, by name.
        stages: Names of the layers that end the network's stages; (): its default stages.
    """
    nets = nn.ModuleList(
        registry.build_network(network, facts.classes, facts.size, stages) for _ in range(members)
    )
    nets.load_state_dict(safetensors.torch.load_file(path))
    return list(nets)


def member_weights(members: Iterable[nn.Module]) -> dict[str, Tensor]:
    """Return the tensors of an ensemble; the names of member m, from 0, begin with `m.`."""
    return nn.ModuleList(members).state_dict()


def load_finished(
    results: Results,
    info: TeacherInfo,
    facts: Facts,
    registry: Registry = BUILTIN,
    stages: Sequence[str] = (),
) -> tuple[list[nn.Module], RunSpec]:
    """Load the network of a finished run, or all members of an ensemble, from a verified file.

    Args:
        results: The results folder of the run.
        info: The run, with the SHA-256 of its weights.
        facts: Facts of the data set; the number of classes and the image size are used.
        registry: The networks and distillers of the suite.
        stages: Names of the layers that end the network's stages; (): its default stages.

    Returns:
        The networks, and the specification of the run.

    Raises:
        BenchError: The run has no record.
        TeacherRefused: The file's SHA-256 differs, or the file does not fit the network.
    """
    path, record = results.weights(info.id), results.summary(info.id)
    verify(path, info.sha256)
    if record is None:
        raise BenchError(f"{path}: the record of the run is missing")
    if info.members > 1:
        nets = load_members(info.network, info.members, facts, path, registry, stages)
    else:
        nets = [load_trained(record, facts, path, registry, stages)]
    return nets, record.specification


def load_trained(
    record: Record, facts: Facts, path: Path, registry: Registry, stages: Sequence[str] = ()
) -> nn.Module:
    """Build the network of a finished run, with its head if it has one, and load its weights.

    Args:
        record: The run's record.
        facts: Facts of the data set.
        path: The file of the run's weights.
        registry: The networks and distillers of the suite.
        stages: Names of the layers that end the network's stages; (): its default stages.
    """
    spec = record.specification
    heads = [name for name in spec.method if has_head(registry.distiller(name))]
    if not heads or record.teacher is None:
        return load(spec.network, facts, path, registry, stages)
    size, head_class = facts.size, registry.distiller(heads[0])
    student, teacher = (
        registry.build_network(name, facts.classes, size, stages or ())
        for name, stages in (
            (spec.network, spec.stages or stages),
            (record.teacher.network, spec.teacher_stages),
        )
    )
    shapes = (
        models.shapes(student, size, head_class.reads),
        models.shapes(teacher, size, reads_of_teacher(head_class)),
    )
    setting = Setting(*shapes, facts.train_labels(), Generator())
    distiller = head_class(setting, **spec.method[heads[0]].options)
    state = safetensors.torch.load_file(path)
    head = {name.removeprefix(PREFIX): x for name, x in state.items() if name.startswith(PREFIX)}
    student.load_state_dict({n: x for n, x in state.items() if not n.startswith(PREFIX)})
    distiller.load_state_dict({**distiller.state_dict(), **head})
    return models.headed(student, distiller, size)
