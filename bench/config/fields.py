"""Types of values in configuration files: numbers, texts and lists, each with its range.

The description of a type is the text that a user reads after `Allowed:`.
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
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

MAX_SEEDS = 1000
TAGGED = "\0"  # starts the tags of alternatives; a user's key cannot contain it
CUSTOM, REFERENCE = "custom", "reference"  # types of errors: a wrong value, an unknown name
_RANGES = re.compile(r" *\d{1,9} *(- *\d{1,9} *)?(, *\d{1,9} *(- *\d{1,9} *)?)*", re.ASCII)


def error(message: str, kind: str = CUSTOM) -> PydanticCustomError:
    """Return the error that a validator raises, with a message for the user."""
    return PydanticCustomError(kind, "{message}", {"message": message})


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise error("found a number that is not finite")
    return number


def _distinct(items: Sequence[Hashable]) -> Any:
    duplicate = next((item for item in items if items.count(item) > 1), None)
    if duplicate is not None:
        raise error(f"found {duplicate} more than once")
    return items


def _increasing(items: Sequence[int]) -> Any:
    if any(b <= a for a, b in zip(items, items[1:], strict=False)):
        raise error("found numbers that do not increase")
    return items


def _one_line(text: str) -> str:
    if "\n" in text.strip():
        raise error("found several lines")
    return text.strip()


def _expand(value: Any) -> Any:
    """Return the text `0-2, 5` as [0, 1, 2, 5], and anything else unchanged."""
    if not isinstance(value, str) or not _RANGES.fullmatch(value):
        return value
    seeds: list[int] = []
    for part in value.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not low <= high < low + MAX_SEEDS or len(seeds) > MAX_SEEDS:
            return value
        seeds += range(low, high + 1)
    return seeds


def shorthand(key: str) -> BeforeValidator:
    """Accept a text or number in place of a mapping, as the value of its main key."""
    return BeforeValidator(lambda v: {key: v} if isinstance(v, str | int | float) else v)


def by_type(**kinds: type) -> Discriminator:
    """Choose between tagged alternatives by the Python type of the value."""
    return Discriminator(
        lambda v: next((TAGGED + k for k, t in kinds.items() if type(v) is t), None)
    )


def tag(kind: str) -> Tag:
    """Mark an alternative of `by_type`."""
    return Tag(TAGGED + kind)


def known(kind: str) -> AfterValidator:
    """Accept only names for which the validation context's `unknown(kind, name)` is None."""

    def check(name: str, info: ValidationInfo) -> str:
        if info.context is not None and (message := info.context.unknown(kind, name)):
            raise error(message, REFERENCE)
        return name

    return AfterValidator(check)


def allowed(description: str) -> Any:
    """Describe the values that a user may write in a field."""
    return Field(description=description)


Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AfterValidator(_finite)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_one_line)]
Label = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}$"),
    allowed("a name of letters, digits and _ . + -, at most 60 long"),
]

Count = Annotated[Whole, Ge(1), Le(1_000_000), allowed("a whole number, at least 1")]
Natural = Annotated[Whole, Ge(0), Le(1_000_000), allowed("a whole number, 0 or more")]
Positive = Annotated[Number, Gt(0), allowed("a number above 0")]
AtLeast0 = Annotated[Number, Ge(0), allowed("a number, 0 or more")]
Momentum = Annotated[Number, Ge(0), Lt(1), allowed("a number from 0 to below 1")]
Factor = Annotated[Number, Gt(0), Le(1), allowed("a number above 0 and at most 1")]
Percent = Annotated[Number, Ge(0), Le(100), allowed("a number of percent, 0 to 100")]
Truth = Annotated[bool, Strict(), allowed("true or false")]
Title = Annotated[Text, allowed("one line of text, at most 200 long")]
Network = Annotated[Text, known("network"), allowed("the name of a network")]
Epochs = Annotated[
    tuple[Annotated[Whole, Ge(1)], ...],
    AfterValidator(_increasing),
    allowed("a list of increasing whole numbers, e.g. [150, 180, 210]"),
]
Seeds = Annotated[
    tuple[Annotated[Whole, Ge(0), Le(2**31)], ...],
    Len(1, MAX_SEEDS),
    AfterValidator(_distinct),
    BeforeValidator(_expand),
    allowed("a list of whole numbers such as [0, 1, 2], or a range 0-2; at most 1000"),
]
