"""Tests with a short version for `tox` and a long one for `tox -e soak`, told by BENCH_SOAK."""

import os

LONG = bool(os.environ.get("BENCH_SOAK"))


def times(short: int, long: int) -> int:
    """How often a test marked `soak` does what it does."""
    return long if LONG else short
