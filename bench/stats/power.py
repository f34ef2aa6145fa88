"""How many seeds it takes to tell."""

import numpy as np

POWER = 0.8
MOST = 100  # seeds: where more are needed, the answer is None


def seeds(
    effect: float,
    spread: float,
    alpha: float,
    *,
    groups: int = 2,
    borrowed: float = 0.0,
    both: bool = False,
) -> int | None:
    """The fewest seeds with which a one-sided t-test tells an effect with 80 % power.

    effect: the difference to be told from 0; spread: the standard deviation of one difference of
    two runs: √(s₁² + s₂²) where they are independent, in `groups` of 2; that of the differences
    within seeds in 1. borrowed: degrees of freedom beyond those of the seeds. both: two tests, one
    on each side, must succeed, as for "same". None: more than 100, or no number.
    """
    from scipy.special import nctdtr, stdtrit

    if effect <= 0:
        return None
    n = np.arange(2, MOST + 1)
    df = groups * (n - 1) + borrowed
    shift = effect * np.sqrt(n) / max(spread, 1e-12 * effect)
    # the noncentral t of scipy loses its footing far out, where the test cannot fail
    found = 1 - nctdtr(df, np.minimum(shift, 30), -stdtrit(df, alpha))
    power = np.where(shift < 30, found, 1.0)
    reached = np.flatnonzero((2 * power - 1 if both else power) >= POWER)
    return int(n[reached[0]]) if reached.size else None
