"""The key `tune` of a suite: which weights and options of methods are searched for, and how."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import ConfigDict

from bench.config import fields
from bench.config.fields import allowed
from bench.config.text import Problem
from bench.suite.parts import Part

Search = Literal["random", "tpe", "grid"]
Pruning = Literal["halving", "none"]
On = Literal["first", "each"]
DEFAULT_TRIALS = 8
WEIGHT = "weight"
DOMAIN = "a list of values, or {low, high, log}"


class RangeEntry(Part):
    """The numbers from `low` to `high`; with `log`, the logarithm is distributed evenly.

    Attributes:
        low: Smallest value; above 0 with `log`.
        high: Largest value, above `low`.
        log: Whether the logarithm of the values is distributed evenly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    low: Annotated[fields.Number, fields.examples(0.1)]
    high: Annotated[fields.Number, fields.examples(10)]
    log: bool = False


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; `integer`: only whole numbers."""

    low: float
    high: float
    log: bool = False
    integer: bool = False


Domain = Range | tuple[Any, ...]  # a range, or a list of values
Space = Mapping[str, Domain]  # by place in a method: `kd.weight`, `kd.temperature`


class TuneEntry(Part):
    """The search for the weights and options of methods, before the runs of the table.

    Attributes:
        methods: The searched values of each method: options, and `weight`, each with a list of
            values or a range. The options of one distiller can be a mapping below its name.
        images: Number of training images that are held out; trials are evaluated on them.
        trials: Number of trials of each method.
        search: How trials are proposed: at random, by a tree-structured Parzen estimator (`tpe`),
            or all combinations (`grid`).
        pruning: Whether only the best trials train for all epochs (`halving`).
        seeds: Seeds of each trial; the suite's `seeds` may not contain them.
        on: Whether trials run on the first pair, for all pairs, or on each pair.
    """

    methods: Annotated[
        dict[fields.Label, Annotated[dict[fields.Text, Any], Len(1)]],
        Len(1),
        allowed(
            f"a mapping of methods to {{option: {DOMAIN}}}", {"kd": {"temperature": [1, 2, 4, 8]}}
        ),
    ]
    images: Annotated[fields.Count, fields.examples(5000)]
    trials: Annotated[fields.Whole, Ge(1), Le(1000), allowed("a whole number, 1 to 1000")] = (
        DEFAULT_TRIALS
    )
    search: Annotated[Search, allowed("random, tpe, grid")] = "random"
    pruning: Annotated[Pruning, allowed("halving, none")] = "none"
    seeds: fields.Seeds = (900,)
    on: Annotated[On, allowed("first, each")] = "first"

    def conflicts(self, seeds: Collection[int]) -> Iterator[Problem]:
        """Yield a problem if a seed of trials is a seed of the suite."""
        if both := {*self.seeds} & {*seeds}:
            message = f"found {min(both)}, which is a seed of the table"
            yield Problem(("tune", "seeds"), f"{message}. Allowed: other seeds")


Tuning = Annotated[
    TuneEntry | None,
    allowed(
        "a mapping of methods, images, trials, …",
        {"images": 5000, "methods": {"kd": {"temperature": [1, 2, 4, 8]}}},
    ),
]


@dataclass(frozen=True)
class Tune:
    """The resolved key `tune`.

    Attributes:
        methods: The space of each tuned method, by the method's name.
        images: Number of training images that are held out; trials are evaluated on them.
        trials: Number of trials of each method.
        search: `random`, `tpe` (tree-structured Parzen estimator) or `grid` (all combinations).
        pruning: `halving`: only the best trials train for all epochs.
        seeds: Seeds of each trial; the value of a trial is the mean over them.
        on: `first`: trials run on the first pair, and all pairs use its settings. `each`: each pair
            has its own trials and settings.
    """

    methods: Mapping[str, Space]
    images: int
    trials: int = DEFAULT_TRIALS
    search: Search = "random"
    pruning: Pruning = "none"
    seeds: tuple[int, ...] = (900,)
    on: On = "first"
