"""SECURITY.md states the limits that the code enforces."""

import re

from bench import suite
from bench.config import loader, nodes
from bench.data import folder, images
from bench.planning import estimate, filters
from bench.regression import file as baseline
from bench.suite import files
from bench.training import checkpoint, teacher
from tests.command import ROOT

LIMITS = {
    "bytes of a suite": loader.MOST_BYTES,
    "keys and values of a suite": nodes.MOST_VALUES,
    "levels of nesting in a suite": nodes.MOST_LEVELS,
    "characters of a key": nodes.LONGEST_KEY,
    "students of a suite": suite.MOST_RUNS,
    "characters of a `--filter`": filters.LONGEST,
    "bytes of a baseline": baseline.MOST_BYTES,
    "levels of nesting in a baseline": baseline.MOST_LEVELS,
    "bytes of a checkpoint": files.LARGEST_CHECKPOINT,
    "bytes of a checkpoint, tensors excluded": teacher.MAX_PICKLE_BYTES,
    "additional bytes for each epoch of an unfinished run's checkpoint": checkpoint.LONGEST_ENTRY,
    "numbers that a network or a method may allocate for a plan's estimate": (
        estimate.MAX_ELEMENTS
    ),
    "pixels of an image, before and after resizing": images.MAX_PIXELS,
    "nested folders below a class of images": folder.MAX_DEPTH,
}


def test_documented_limits_equal_the_constants_in_the_code() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8").partition("\n## Limits\n")[2]
    rows = re.findall(r"^\| (.+) \| ([\d,]+) \|$", text, re.M)
    assert {name: int(value.replace(",", "")) for name, value in rows} == LIMITS
