"""Randomness by name: the same names give the same numbers, whatever else runs beside."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(*names: object) -> int:
    """A 56-bit seed for a path of names: another path, another seed."""
    digest = hashlib.sha256(repr(names).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generator(device: torch.device | str, *names: object) -> torch.Generator:
    """A random stream of its own for a path of names, on the device."""
    return torch.Generator(device).manual_seed(derive(*names))


@contextmanager
def initialised_by(*names: object) -> Iterator[None]:
    """Layers made inside draw their first weights from this seed; the global one is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(*names))
        yield


def restart(device: torch.device, *names: object) -> None:
    """Let torch's own stream of a device, which dropout draws from, begin at this seed."""
    cuda = device.type == "cuda"
    own = torch.cuda.default_generators[device.index] if cuda else torch.default_generator
    own.manual_seed(derive(*names))
