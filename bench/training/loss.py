"""The loss of a method: a weighted sum of distillers, as a suite writes it."""

from collections.abc import Mapping
from typing import get_args

from torch import Generator, Tensor, nn

from bench import seeding
from bench.plugins import BUILTIN, Registry
from bench.spec import TermSpec
from distillers import Batch, Distiller, Features, Setting, Shapes
from distillers.base import FeatureName


class WeightedLoss(nn.Module):
    """L = Σ_k w_k L_k over the terms of one method, e.g. `{ce: 1, crd: 0.8, kd: 1}`.

    Terms are summed from early to late features and then by name, so that rounding does not depend
    on their order in the suite. Each term has its own random streams, named by the seed and the
    term: an additional term does not change the random numbers of the others.

    Args:
        terms: Weight and options of each distiller, by its name.
        student: Shapes of the student's features.
        teacher: Shapes of the teacher's features.
        train_labels: (N,), on the training device.
        seed: The run's seed.
        registry: The distillers of the suite.

    Attributes:
        terms: The distillers by name.
        streams: Random generators of the distillers.
    """

    def __init__(
        self,
        terms: Mapping[str, TermSpec],
        student: Shapes,
        teacher: Shapes,
        train_labels: Tensor,
        seed: int,
        registry: Registry = BUILTIN,
    ) -> None:
        super().__init__()
        self.weights = {name: term.weight for name, term in terms.items()}
        self.terms = nn.ModuleDict()
        self.streams: list[Generator] = []
        classes = {name: registry.distiller(name) for name in terms}
        for name in sorted(terms, key=lambda name: (_earliest_feature(classes[name]), name)):
            rng = seeding.generator(train_labels.device, "draws", seed, name)
            setting = Setting(student, teacher, train_labels, rng)
            self.streams.append(rng)
            with seeding.initialised_by("term", seed, name):
                self.terms[name] = classes[name](setting, **terms[name].options)

    def forward(
        self, student: Features, teacher: Features, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of one batch.

        Args:
            student: The student's features, with gradients.
            teacher: The teacher's features.
            batch: Labels and indices.

        Returns:
            The weighted sum and each unweighted term by name; all are scalars.
        """
        losses = {name: term(student, teacher, batch) for name, term in self.terms.items()}
        weighted = [self.weights[name] * loss for name, loss in losses.items()]
        return sum(weighted[1:], weighted[0]), losses

    @property
    def uses_teacher(self) -> bool:
        """Whether any term uses the teacher's features."""
        return any(getattr(term, "uses_teacher", True) for term in self.terms.values())

    @property
    def reads(self) -> set[FeatureName]:
        """The fields of the features that any term may use."""
        return {feature for term in self.terms.values() for feature in getattr(term, "reads", ())}

    def undecayed(self) -> set[nn.Parameter]:
        """Return the parameters that their distiller exempts from weight decay."""
        return {
            term.get_parameter(name)
            for term in self.terms.values()
            for name in getattr(term, "undecayed", ())
        }


def _earliest_feature(distiller: type[Distiller]) -> int:
    """Return the position in a network of the earliest feature that a distiller reads."""
    return min((get_args(FeatureName).index(feature) for feature in distiller.reads), default=0)
