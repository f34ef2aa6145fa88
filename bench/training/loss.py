"""The loss of a method: a weighted sum of distillers, and the stage before training."""

from collections.abc import Iterator, Mapping
from typing import cast, get_args

from torch import Generator, Tensor, nn

from bench import seeding
from bench.plugins import BUILTIN, Registry
from bench.spec import TermSpec
from distillers import Batch, Distiller, Features, Incompatible, Setting, Shapes
from distillers.base import (
    FeatureName,
    MixedBatch,
    Pretraining,
    UnlabelledBatch,
    has_head,
    reads_of_teacher,
    require,
    require_labels,
)


class WeightedLoss(nn.Module):
    """The loss of one method, a weighted sum of terms such as `{ce: 1, crd: 0.8, kd: 1}`.

    L = Σ_k w_k min(e / warmup_k, 1) L_k, where term k has the weight w_k and the loss L_k of one
    distiller, and e is the epoch, from 1; without a warmup, the factor is 1. The sum begins with
    terms that read early features of the network; ties are sorted by name. Rounding therefore does
    not depend on the order of terms in the suite. Each term has its own random generators, seeded
    by the run's seed and the term's name. An additional term therefore does not change the random
    numbers of other terms.

    Args:
        terms: Weight and options of each distiller, by the distiller's name.
        student: Shapes of the student's features.
        teacher: Shapes of the teacher's features.
        train_labels: Labels of the training set (N,), on the training device.
        seed: The run's seed.
        registry: The distillers that the suite can use, by name.
        mixed: Whether the recipe mixes images, which then have no single label.
        labelled: Whether the training images have labels.

    Attributes:
        terms: The distillers by name.
        streams: The random generator of each distiller.
        stage: The stage before training; None if no distiller has one.
        head: The distiller that predicts at test time; None: the student's classifier predicts.

    Raises:
        Incompatible: A distiller does not fit the networks or the recipe, or two distillers have a
            stage before training or a head.
    """

    def __init__(
        self,
        terms: Mapping[str, TermSpec],
        student: Shapes,
        teacher: Shapes,
        train_labels: Tensor,
        seed: int,
        registry: Registry = BUILTIN,
        *,
        mixed: bool = False,
        labelled: bool = True,
    ) -> None:
        super().__init__()
        self._specs, self._mixed, self._labelled = terms, mixed, labelled
        self.terms = nn.ModuleDict()
        self.streams: list[Generator] = []
        classes = {name: registry.distiller(name) for name in terms}
        for name in sorted(terms, key=lambda name: (_earliest_feature(classes[name]), name)):
            require(classes[name], student, teacher, mixed=mixed)
            if not labelled:
                require_labels(classes[name], terms[name].options)
            rng = seeding.generator(train_labels.device, "draws", seed, name)
            setting = Setting(student, teacher, train_labels, rng)
            self.streams.append(rng)
            with seeding.initialised_by("term", seed, name):
                self.terms[name] = classes[name](setting, **terms[name].options)
        stages = {name: stage for name, term in self.terms.items() if (stage := _stage(term))}
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
        self, student: Features, teacher: Features, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of one batch.

        Args:
            student: The student's features, with gradients.
            teacher: The teacher's features.
            batch: Labels of the images, their indices in the training set, and the epoch.

        Returns:
            The weighted sum, and each term's unweighted loss by name; all are scalar tensors.
        """
        visible = self._visible(batch)
        losses = {name: self.terms[name](student, teacher, visible) for name in self.names()}
        weighted = [self._weight(name, batch) * loss for name, loss in losses.items()]
        return sum(weighted[1:], weighted[0]), losses

    def _visible(self, batch: Batch) -> Batch:
        """Return the batch as the distillers may read it: some images have no label, or not one."""
        if not self._labelled:
            return UnlabelledBatch(batch.labels, batch.index, batch.epoch, batch.epochs)
        if not self._mixed:
            return batch
        return MixedBatch(batch.labels, batch.index, batch.epoch, batch.epochs, batch.targets)

    def _weight(self, name: str, batch: Batch) -> float | Tensor:
        weight, warmup = self._specs[name].weight, self._specs[name].warmup
        return weight * (batch.epoch / warmup).clamp(max=1) if warmup else weight

    def pretrain(
        self, student: Features, teacher: Features, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of one batch in the stage before training, as `forward` does."""
        loss: Tensor = self.terms[self._first].pretrain(  # type: ignore[operator]
            student, teacher, self._visible(batch)
        )
        return loss, {self._first: loss}

    def names(self, *, pretraining: bool = False) -> list[str]:
        """Return the names of the terms with a loss, in the stage before training or after it."""
        if pretraining:
            return [self._first]
        is_over = self.stage is not None and self.stage.only
        return [name for name in self.terms if not (is_over and name == self._first)]

    def uses_teacher(self, *, pretraining: bool = False) -> bool:
        """Return whether a term with a loss uses the teacher's features."""
        names = self.names(pretraining=pretraining)
        return any(getattr(self.terms[name], "uses_teacher", True) for name in names)

    def reads(self, *, pretraining: bool = False, teacher: bool = False) -> frozenset[FeatureName]:
        """Return the fields of `Features` that a term with a loss may read.

        Args:
            pretraining: Whether the loss is that of the stage before training.
            teacher: Whether the features are the teacher's; if not, they are the student's.
        """
        terms = [cast(Distiller, self.terms[name]) for name in self.names(pretraining=pretraining)]
        fields = (reads_of_teacher(term) if teacher else term.reads for term in terms)
        return frozenset(field for reads in fields for field in reads)

    def learning(self, *, pretraining: bool = False) -> list[nn.Parameter]:
        """Return the distillers' parameters that learn, in the stage before training or after."""
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


def _stage(term: nn.Module) -> Pretraining | None:
    stage = getattr(term, "pretraining", None)
    return stage if isinstance(stage, Pretraining) and stage.epochs else None


def _earliest_feature(distiller: type[Distiller]) -> int:
    """Return the rank of a distiller's earliest feature in the order of the network."""
    return min((get_args(FeatureName).index(feature) for feature in distiller.reads), default=0)
