"""The key `seeds` of a suite: a list, or as many as the verdicts of a table need."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Discriminator

from bench.config import fields
from bench.config.fields import TAGGED, allowed
from bench.config.text import Problem
from bench.errors import unknown
from bench.suite.parts import Part

MAX_MOST = 100  # seeds; each has a look, and levels of looks take time to compute


class UntilSettled(Part):
    """Seeds 0, 1, …: `first` seeds of all methods, then more of methods with an open verdict.

    Attributes:
        first: Number of seeds before the first look.
        most: Largest number of seeds.
        until: `settled`: until the verdict of a method is better, worse or same.
        reference: Name of the method with which all others are compared.
        tolerance: Largest difference in top-1 accuracy that counts as zero, in percentage points.
    """

    first: Annotated[fields.Whole, Ge(2), Le(MAX_MOST - 1), allowed("a whole number, 2 to 99", 3)]
    most: Annotated[fields.Whole, Ge(3), Le(MAX_MOST), allowed("a whole number, 3 to 100", 10)]
    until: Annotated[Literal["settled"], allowed("settled")] = "settled"
    reference: fields.Label = "kd"
    tolerance: fields.AtLeast0 = 0.5

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that may be run."""
        return tuple(range(self.most))

    def conflicts(self, methods: Collection[str]) -> Iterator[Problem]:
        """Yield a problem if there are no later seeds, or if the reference is no method."""
        if self.most <= self.first:
            message = f"found {self.most}, and first is {self.first}"
            yield Problem(("seeds", "most"), f"{message}. Allowed: a number above first")
        if self.reference not in methods:
            message = unknown("method of the suite", self.reference, methods)
            yield Problem(("seeds", "reference"), message)


SeedsEntry = Annotated[
    Annotated[fields.Seeds, fields.tag("list")] | Annotated[UntilSettled, fields.tag("mapping")],
    Discriminator(lambda value: TAGGED + ("mapping" if isinstance(value, dict) else "list")),
    allowed(
        "a list of whole numbers such as [0, 1, 2], or a range 0-2; at most 1000; or a mapping of "
        "first, most, until",
        "0-4",
        {"first": 3, "most": 10, "until": "settled"},
    ),
]


@dataclass(frozen=True)
class GroupLooks:
    """The looks at the pairs of one group, of a suite whose verdicts decide about seeds.

    Attributes:
        group: The group; its pairs share a table, in which p-values are corrected together.
        complete: Number of seeds of the last look whose runs have all ended; 0: no look yet.
        open: The comparisons that need more seeds, each the name of a pair and of a method.
        ended: Number of all other comparisons.
    """

    group: str
    complete: int
    open: tuple[tuple[str, str], ...]
    ended: int
