"""A method: a weighted sum of distillers, as a suite writes it."""

from collections.abc import Mapping
from typing import Any, get_args

from torch import Generator, Tensor, nn

import distillers
from bench import seeding
from distillers import Batch, Features, Setting, Shapes
from distillers.base import FeatureName


class Objective(nn.Module):
    """L = Σ_k w_k L_k over the terms of one method, e.g. `{ce: 1, crd: 0.8, kd: 1}`.

    Summed in an order of their own, from early to late features and then by name: rounding must
    not depend on how a suite writes them.

    `terms` maps each distiller's name to its `weight` and `options`. Every term draws its random
    numbers and first weights from a stream of its own, named by the seed and the term alone:
    adding a term leaves the others' draws as they were. `streams` are those of random numbers.
    """

    def __init__(
        self,
        terms: Mapping[str, Mapping[str, Any]],
        student: Shapes,
        teacher: Shapes,
        train_labels: Tensor,
        seed: int,
    ) -> None:
        super().__init__()
        self.weights = {name: float(term["weight"]) for name, term in terms.items()}
        self.terms = nn.ModuleDict()
        self.streams: list[Generator] = []
        for name in sorted(terms, key=lambda name: (_earliest(name), name)):
            term = terms[name]
            rng = seeding.generator(train_labels.device, "draws", seed, name)
            own = Setting(student, teacher, train_labels, rng)
            self.streams.append(rng)
            with seeding.initialised_by("term", seed, name):
                self.terms[name] = distillers.load(name)(own, **term["options"])

    def forward(
        self, student: Features, teacher: Features, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each term before its weight: scalars."""
        losses = {name: term(student, teacher, batch) for name, term in self.terms.items()}
        weighted = [self.weights[name] * loss for name, loss in losses.items()]
        return sum(weighted[1:], weighted[0]), losses

    @property
    def taught(self) -> bool:
        """Whether any term looks at the teacher."""
        return any(getattr(term, "uses_teacher", True) for term in self.terms.values())

    @property
    def reads(self) -> set[FeatureName]:
        """The fields of the features that any term may use."""
        return {tap for name in self.terms for tap in distillers.load(name).reads}

    def undecayed(self) -> set[nn.Parameter]:
        """The parameters that their distiller exempts from weight decay."""
        return {
            term.get_parameter(name)
            for term in self.terms.values()
            for name in getattr(term, "undecayed", ())
        }


def _earliest(name: str) -> int:
    """How early in a network the first of the features lies that a distiller reads."""
    return min((get_args(FeatureName).index(tap) for tap in distillers.load(name).reads), default=0)
