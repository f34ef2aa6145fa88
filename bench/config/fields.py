"""Kinds of values that a suite may hold: numbers, texts, lists, each with its range.

A description is the sentence that a user reads after `Allowed:`.
"""

import math
import re
from collections.abc import Hashable, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Strict,
    StringConstraints,
    Tag,
)
from pydantic_core import PydanticCustomError

MOST_SEEDS = 1000
TAGGED = "\0"  # begins the tags of alternatives; no key of a user holds it
_RANGES = re.compile(r" *\d{1,9} *(- *\d{1,9} *)?(, *\d{1,9} *(- *\d{1,9} *)?)*", re.ASCII)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise PydanticCustomError("finite", "found a number without a finite value")
    return number


def _unlike(items: Sequence[Hashable]) -> Any:
    twice = [item for item in items if items.count(item) > 1]
    if twice:
        raise PydanticCustomError("twice", "found {item} more than once", {"item": twice[0]})
    return items


def _rising(items: Sequence[int]) -> Any:
    if any(b <= a for a, b in zip(items, items[1:], strict=False)):
        raise PydanticCustomError("order", "found numbers that do not rise")
    return items


def _one_line(text: str) -> str:
    if "\n" in text.strip():
        raise PydanticCustomError("lines", "found several lines")
    return text.strip()


def _listed(given: Any) -> Any:
    """The text `0-2, 5` as [0, 1, 2, 5]; anything else as it is."""
    if not isinstance(given, str) or not _RANGES.fullmatch(given):
        return given
    seeds: list[int] = []
    for part in given.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not low <= high < low + MOST_SEEDS or len(seeds) > MOST_SEEDS:
            return given
        seeds += range(low, high + 1)
    return seeds


def instead(key: str) -> BeforeValidator:
    """A text or number in place of a mapping stands for the mapping's one main key."""
    return BeforeValidator(lambda v: {key: v} if isinstance(v, str | int | float) else v)


def by_type(**kinds: type) -> Discriminator:
    """The tag of a kind for values of a Python type."""
    return Discriminator(
        lambda v: next((TAGGED + k for k, t in kinds.items() if type(v) is t), None)
    )


def tag(kind: str) -> Tag:
    """What marks an alternative, also in the places of errors."""
    return Tag(TAGGED + kind)


def allowed(sentence: str) -> Any:
    """The description of a field: what a user may write there."""
    return Field(description=sentence)


Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AfterValidator(_finite)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_one_line)]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}$")]

Count = Annotated[Whole, Ge(1), Le(1_000_000), allowed("a whole number, at least 1")]
Natural = Annotated[Whole, Ge(0), Le(1_000_000), allowed("a whole number, 0 or more")]
Positive = Annotated[Number, Gt(0), allowed("a number above 0")]
AtLeast0 = Annotated[Number, Ge(0), allowed("a number, 0 or more")]
Momentum = Annotated[Number, Ge(0), Lt(1), allowed("a number from 0 to below 1")]
Factor = Annotated[Number, Gt(0), Le(1), allowed("a number above 0 and at most 1")]
Percent = Annotated[Number, Ge(0), Le(100), allowed("a number of percent, 0 to 100")]
Truth = Annotated[bool, Strict(), allowed("true or false")]
Title = Annotated[Text, allowed("one line of text, at most 200 long")]
Network = Annotated[Text, allowed("the name of a network")]
Epochs = Annotated[
    tuple[Annotated[Whole, Ge(1)], ...],
    AfterValidator(_rising),
    allowed("a list of rising whole numbers, e.g. [150, 180, 210]"),
]
Seeds = Annotated[
    tuple[Annotated[Whole, Ge(0), Le(2**31)], ...],
    Len(1, MOST_SEEDS),
    AfterValidator(_unlike),
    BeforeValidator(_listed),
    allowed("a list of whole numbers such as [0, 1, 2], or a range 0-2"),
]
