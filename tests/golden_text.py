"""Comparison of text with golden text whose last digits differ between versions of SciPy."""

import re

import pytest

DECIMAL = re.compile(r"(\d+\.\d+(?:e[-+]?\d+)?)")


def with_golden_digits(text: str, golden: str) -> str:
    """Return `text` with the golden spelling of each decimal number that agrees to 8 digits."""
    parts, golden_parts = DECIMAL.split(text), DECIMAL.split(golden)
    if len(parts) != len(golden_parts):
        return text
    pairs = enumerate(zip(parts, golden_parts, strict=True))
    return "".join(
        number if index % 2 and float(part) == pytest.approx(float(number), rel=1e-8) else part
        for index, (part, number) in pairs
    )
