"""The loss of a method: a weighted sum of distillers, and the stage before training."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Literal, cast, get_args

from torch import Generator, Tensor, nn

from bench import seeding
from bench.plugins import BUILTIN, Registry
from bench.spec import TermSpec
from distillers import Batch, Distiller, Features, Incompatible, Setting, Shapes
from distillers.base import (
    FeatureName,
    MixedBatch,
    UnlabelledBatch,
    has_head,
    reads_of_teacher,
    require,
    require_labels,
    require_one_teacher,
    stage_of,
)

ImageKind = Literal["mixed", "unlabelled"]


class PerMember(nn.Module):
    """A distiller for an ensemble of teachers: one instance per member, with its own parameters.

    L = Σ_m L_m, or (1/M) Σ_m L_m, where L_m is the loss with member m of M as the teacher. CRD
    (arXiv:1910.10699), equation 21, has the sum. With `kd`, the mean has the gradient of the
    KL divergence to the averaged probabilities.

    Args:
        members: The instances.
        mean: Whether the losses are averaged instead of summed.
    """

    def __init__(self, members: Sequence[Distiller], *, mean: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.reads, self.uses_teacher = members[0].reads, members[0].uses_teacher
        self.teacher_reads = members[0].teacher_reads
        self.undecayed = tuple(
            f"members.{i}.{name}" for i, member in enumerate(members) for name in member.undecayed
        )
        self._factor = 1 / len(members) if mean else 1.0

    def forward(self, student: Features, teachers: Sequence[Features], batch: Batch) -> Tensor:
        """Return the sum or the mean of the members' losses, a scalar."""
        losses: list[Tensor] = [
            member(student, teacher, batch)
            for member, teacher in zip(self.members, teachers, strict=True)
        ]
        return sum(losses[1:], losses[0]) * self._factor


class WeightedLoss(nn.Module):
    """The loss of one method, a weighted sum of terms such as `{ce: 1, crd: 0.8, kd: 1}`.

    L = Σ_k w_k min(e / warmup_k, 1) L_k. Term k has the weight w_k, and L_k is the loss of one
    distiller. e is the epoch, from 1; without a warmup, the factor is 1. The sum begins with the
    terms that read early features of the network; terms with equally early features are sorted by
    name. Rounding therefore does not depend on the order of terms in the suite. Each term has its
    own random generators, seeded by the run's seed and the term's name. An additional term
    therefore does not change the random numbers of other terms.

    Args:
        terms: Weight and options of each distiller, by the distiller's name.
        student: Shapes of the student's features.
        teachers: Shapes of the features of the teacher, or of each member of an ensemble.
        train_labels: Labels of the training set (N,), on the training device.
        seed: The run's seed.
        registry: The distillers that the suite can use, by name.
        images: Contains `mixed` if the recipe mixes images, which then have no single label, and
            `unlabelled` if the images have no labels.
        mean: Whether losses are averaged over an ensemble's members, instead of summed.

    Attributes:
        terms: The distillers by name.
        streams: The random generator of each distiller.
        stage: The stage before training; None if no distiller has one.
        head: The distiller that predicts at test time; None: the student's classifier predicts.

    Raises:
        Incompatible: A distiller does not fit the networks or the recipe, two distillers have a
            stage before training, or two distillers have a head.
    """

    def __init__(
        self,
        terms: Mapping[str, TermSpec],
        student: Shapes,
        teachers: Sequence[Shapes],
        train_labels: Tensor,
        seed: int,
        registry: Registry = BUILTIN,
        *,
        images: Collection[ImageKind] = (),
        mean: bool = False,
    ) -> None:
        super().__init__()
        self._specs, self._images = terms, images
        self.terms = nn.ModuleDict()
        self.streams: list[Generator] = []
        classes = {name: registry.distiller(name) for name in terms}
        for name in sorted(terms, key=lambda name: (_earliest_feature(classes[name]), name)):
            used = teachers if classes[name].uses_teacher else teachers[:1]
            members = []
            require(classes[name], student, teachers[0], mixed="mixed" in images)
            if "unlabelled" in images:
                require_labels(classes[name], terms[name].options)
            for teacher, names in zip(used, _seed_names(name), strict=False):
                rng = seeding.generator(train_labels.device, "draws", seed, *names)
                self.streams.append(rng)
                with seeding.initialised_by("term", seed, *names):
                    setting = Setting(student, teacher, train_labels, rng)
                    members.append(classes[name](setting, **terms[name].options))
            require_one_teacher(members[0], len(members))
            is_one = len(members) == 1
            self.terms[name] = members[0] if is_one else PerMember(members, mean=mean)
        stages = {name: stage for name, term in self.terms.items() if (stage := stage_of(term))}
        self._first = self._only(stages, "have a stage before training")
        self.stage = stages.get(self._first)
        heads = {name: term for name, term in self.terms.items() if has_head(type(term))}
        self.head = heads.get(self._only(heads, "replace the student's classifier"))

    @staticmethod
    def _only(names: Mapping[str, object], problem: str) -> str:
        if len(names) > 1:
            raise Incompatible(f"{' and '.join(names)} {problem}. Allowed: one of them")
        return next(iter(names), "")

    def forward(
        self, student: Features, teachers: Sequence[Features], batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of one batch.

        Args:
            student: The student's features, with gradients.
            teachers: The features of the teacher, or of each member of an ensemble.
            batch: Labels of the images, their indices in the training set, and the epoch.

        Returns:
            The weighted sum, and each term's unweighted loss by name; all are scalar tensors.
        """
        visible = self._visible(batch)
        losses = {}
        for name in self.names():
            term = self.terms[name]
            seen = teachers if isinstance(term, PerMember) else teachers[0]
            losses[name] = term(student, seen, visible)
        weighted = [self._weight(name, batch) * loss for name, loss in losses.items()]
        return sum(weighted[1:], weighted[0]), losses

    def _visible(self, batch: Batch) -> Batch:
        """Return the batch for distillers, without labels that the images do not have."""
        if "unlabelled" in self._images:
            return UnlabelledBatch(batch.labels, batch.index, batch.epoch, batch.epochs)
        if "mixed" not in self._images:
            return batch
        return MixedBatch(batch.labels, batch.index, batch.epoch, batch.epochs, batch.targets)

    def _weight(self, name: str, batch: Batch) -> float | Tensor:
        weight, warmup = self._specs[name].weight, self._specs[name].warmup
        return weight * (batch.epoch / warmup).clamp(max=1) if warmup else weight

    def pretrain(
        self, student: Features, teachers: Sequence[Features], batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of one batch in the stage before training; see `forward`."""
        loss: Tensor = self.terms[self._first].pretrain(  # type: ignore[operator]
            student, teachers[0], self._visible(batch)
        )
        return loss, {self._first: loss}

    def names(self, *, pretraining: bool = False) -> list[str]:
        """Return the names of the terms that have a loss in training, or in the stage before it."""
        if pretraining:
            return [self._first]
        is_over = self.stage is not None and self.stage.only
        return [name for name in self.terms if not (is_over and name == self._first)]

    def uses_teacher(self, *, pretraining: bool = False) -> bool:
        """Return whether any of the terms in `names` uses the teacher's features."""
        names = self.names(pretraining=pretraining)
        return any(getattr(self.terms[name], "uses_teacher", True) for name in names)

    def reads(self, *, pretraining: bool = False, teacher: bool = False) -> frozenset[FeatureName]:
        """Return the fields of `Features` that the terms in `names` may read.

        Args:
            pretraining: Whether to return the fields for the stage before training.
            teacher: Whether to return the fields of the teacher instead of the student's.
        """
        terms = [cast(Distiller, self.terms[name]) for name in self.names(pretraining=pretraining)]
        fields = (reads_of_teacher(term) if teacher else term.reads for term in terms)
        return frozenset(field for reads in fields for field in reads)

    def learning(self, *, pretraining: bool = False) -> list[nn.Parameter]:
        """Return the distillers' parameters that learn in training, or in the stage before it."""
        stage, terms = self.stage, self.terms
        first = {id(p) for p in self._of_stage()} if stage else set()
        if pretraining:
            return [p for p in terms.parameters() if id(p) in first]
        names = self.names()
        return [p for name in names for p in terms[name].parameters() if id(p) not in first]

    def _of_stage(self) -> Iterator[nn.Parameter]:
        prefixes = self.stage.parameters if self.stage else ()
        for name, parameter in self.terms[self._first].named_parameters():
            if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes):
                yield parameter

    def undecayed(self) -> set[nn.Parameter]:
        """Return the parameters that distillers exempt from weight decay."""
        return {
            term.get_parameter(name)
            for term in self.terms.values()
            for name in getattr(term, "undecayed", ())
        }


def _seed_names(name: str) -> Iterator[tuple[str | int, ...]]:
    """Yield the names that seed a term's random numbers, for each member of an ensemble."""
    yield (name,)
    yield from ((name, member) for member in count(1))


def _earliest_feature(distiller: type[Distiller]) -> int:
    """Return the position of a distiller's earliest feature in the order of `FeatureName`."""
    return min((get_args(FeatureName).index(feature) for feature in distiller.reads), default=0)
