"""Tests with a short version for `tox`, and a long one for `tox -e soak`, which sets BENCH_SOAK."""

import os
from collections.abc import Sequence
from typing import Any

LONG = bool(os.environ.get("BENCH_SOAK"))


def times(short: int, long: int) -> int:
    """Return how often a test marked `soak` repeats its step."""
    return long if LONG else short


def some(cases: Sequence[Any], short: int) -> Sequence[Any]:
    """Return all cases of a test marked `soak`, or every so many, so that about `short` remain."""
    return cases if LONG else cases[:: max(1, len(cases) // short)]
