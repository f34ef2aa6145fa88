"""`contract.check`, which authors of distillers call: it accepts ours and sees wrong ones."""

import inspect

import pytest

import distillers
from distillers import contract
from tests.distillers import test_contract_bites
from tests.distillers.geometry import small_options

WRONG = {
    name: cls
    for name, cls in vars(test_contract_bites).items()
    if inspect.isclass(cls) and cls.__module__ == test_contract_bites.__name__
}


@pytest.mark.parametrize("name", distillers.names())
def test_built_in_distillers_pass(name: str) -> None:
    cls = distillers.load(name)
    assert contract.check(cls, **small_options(cls)) == []


def test_the_correct_distiller_passes() -> None:
    assert contract.check(test_contract_bites.Correct) == []


@pytest.mark.parametrize("name", sorted(WRONG.keys() - {"Correct"}))
def test_wrong_distillers_fail(name: str) -> None:
    try:
        problems = contract.check(WRONG[name])
    except (AssertionError, ValueError, RuntimeError) as error:
        problems = [str(error)]
    assert problems != []
