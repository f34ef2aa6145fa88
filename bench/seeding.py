"""Random generators, each seeded by a hash of its names.

The names are values such as a run's seed and the word "order". A generator's random numbers depend
only on its names, not on other generators or the order of calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from bench.lazy import torch


def derive(*names: object) -> int:
    """Return a 56-bit seed, a hash of the names in this order."""
    digest = hashlib.sha256(repr(names).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generator(device: torch.device | str, *names: object) -> torch.Generator:
    """Return a new random generator on a device, seeded by a hash of the names."""
    return torch.Generator(device).manual_seed(derive(*names))


@contextmanager
def initialised_by(*names: object) -> Iterator[None]:
    """Seed torch's CPU generator for a block of code that draws initial weights.

    After the block, the generator has its earlier state.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(*names))
        yield


def restart(device: torch.device, *names: object) -> None:
    """Seed torch's default generator for a device, from which dropout draws."""
    cuda = device.type == "cuda"
    stream = torch.cuda.default_generators[device.index] if cuda else torch.default_generator
    stream.manual_seed(derive(*names))
