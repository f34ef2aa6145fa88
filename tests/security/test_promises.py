"""SECURITY.md states the limits that the code enforces."""

import re

from bench.config import loader
from bench.data import folder, images
from bench.planning import estimate
from bench.planning.filters import MAX_FILTER_LENGTH
from bench.suite import files, schema
from bench.training import checkpoint, weight_files
from tests.command import ROOT

LIMITS = {
    "bytes of a suite": loader.MAX_BYTES,
    "keys and values of a suite": loader.MAX_VALUES,
    "levels of nesting in a suite": loader.MAX_LEVELS,
    "characters of a key": loader.MAX_KEY_LENGTH,
    "students of a suite": schema.MAX_RUNS,
    "characters of a `--filter`": MAX_FILTER_LENGTH,
    "bytes of a baseline": loader.MAX_JSON_BYTES,
    "levels of nesting in a baseline": loader.MAX_JSON_LEVELS,
    "bytes of a checkpoint": files.MAX_CHECKPOINT_BYTES,
    "bytes of a checkpoint, tensors excluded": weight_files.MAX_PICKLE_BYTES,
    "additional bytes for each epoch of an unfinished run's checkpoint": checkpoint.MAX_EPOCH_BYTES,
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
