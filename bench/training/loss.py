"""A method: a weighted sum of distillers, as a suite writes it."""

from collections.abc import Mapping
from typing import Any, get_args

from torch import Generator, Tensor, nn

from bench import seeding
from bench.plugins import BUILTIN, Registry
from distillers import Batch, Distiller, Features, Setting, Shapes
from distillers._base import Tap


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
        registry: Registry = BUILTIN,
    ) -> None:
        super().__init__()
        self.weights = {name: float(term["weight"]) for name, term in terms.items()}
        self.terms = nn.ModuleDict()
        self.streams: list[Generator] = []
        kinds = {name: registry.distiller(name) for name in terms}
        for name in sorted(terms, key=lambda name: (_earliest(kinds[name]), name)):
            term = terms[name]
            rng = seeding.generator(train_labels.device, "draws", seed, name)
            own = Setting(student, teacher, train_labels, rng)
            self.streams.append(rng)
            with seeding.initialised_by("term", seed, name):
                self.terms[name] = kinds[name](own, **term["options"])

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
        return any(getattr(term, "taught", True) for term in self.terms.values())

    @property
    def reads(self) -> set[Tap]:
        """The fields of the features that any term may use."""
        return {tap for term in self.terms.values() for tap in getattr(term, "reads", ())}

    def undecayed(self) -> set[nn.Parameter]:
        """The parameters that their distiller exempts from weight decay."""
        return {
            term.get_parameter(name)
            for term in self.terms.values()
            for name in getattr(term, "undecayed", ())
        }


def _earliest(kind: type[Distiller]) -> int:
    """How early in a network the first of the features lies that a distiller reads."""
    return min((get_args(Tap).index(tap) for tap in kind.reads), default=0)
