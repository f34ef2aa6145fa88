"""The contract, over all distillers there are."""

import inspect
import itertools
from typing import Literal, get_args, get_origin

import pytest

import distillers
from tests.distillers.contract import CHECKS
from tests.distillers.geometry import built


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", distillers.names())
def test_contract(name, check):
    kind = distillers.load(name)
    CHECKS[check](lambda seed: built(kind, seed))


def choices(kind):
    """Every combination of the options that choose by name or by yes and no."""
    known = {
        option.name: get_args(option.annotation) or (False, True)
        for option in inspect.signature(kind).parameters.values()
        if get_origin(option.annotation) is Literal or option.annotation is bool
    }
    for values in itertools.product(*known.values()):
        yield dict(zip(known, values, strict=True))


VARIANTS = [(n, c) for n in distillers.names() for c in choices(distillers.load(n)) if c]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("name", "choice"), VARIANTS, ids=lambda value: str(value))
def test_contract_holds_for_every_choice(name, choice, check):
    kind = distillers.load(name)
    CHECKS[check](lambda seed: built(kind, seed, **choice))
