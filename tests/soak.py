"""Tests with a short version for `tox`, and a long one for `tox -e soak`, which sets BENCH_SOAK."""

import os

LONG = bool(os.environ.get("BENCH_SOAK"))


def times(short: int, long: int) -> int:
    """Return how often a test marked `soak` repeats its step."""
    return long if LONG else short
