"""Ranges of options: what a suite may set lies within them, and is told with its line if not."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

Width = Annotated[int, Ge(1), Le(65_536)]  # of an embedding
Count = Annotated[int, Ge(1)]
Place = Annotated[int, Ge(0)]
Rounds = Annotated[int, Ge(1), Le(10_000)]
Positive = Annotated[float, Gt(0)]
AtLeast0 = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
