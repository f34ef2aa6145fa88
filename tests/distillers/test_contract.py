"""The contract, for every distiller and for the example in the documentation."""

import importlib.util
import inspect
import itertools
import sys
import textwrap
from typing import Literal, get_args, get_origin

import pytest

import distillers
from distillers import base
from tests.distillers.contract import CHECKS
from tests.distillers.geometry import Subject


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", distillers.names())
def test_distiller_fulfils_the_contract(name, check):
    cls = distillers.load(name)
    CHECKS[check](Subject(cls))


def choices(cls):
    """Yield every combination of the options of type Literal or bool."""
    values_by_name = {
        option.name: get_args(option.annotation) or (False, True)
        for option in inspect.signature(cls).parameters.values()
        if get_origin(option.annotation) is Literal or option.annotation is bool
    }
    for values in itertools.product(*values_by_name.values()):
        yield dict(zip(values_by_name, values, strict=True))


VARIANTS = [(n, c) for n in distillers.names() for c in choices(distillers.load(n)) if c]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("name", "choice"), VARIANTS, ids=lambda value: str(value))
def test_distiller_fulfils_the_contract_for_every_choice_of_options(name, choice, check):
    cls = distillers.load(name)
    CHECKS[check](Subject(cls, **choice))


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """The distillers in the docstring of distillers/base.py, imported from files."""
    examples = {
        "NoisyLogits": ("contract tests also run:\n\n", "\nThe rules follow"),
        "Coded": ("optional features, also tested:\n\n", "\nShapes in this package"),
    }
    folder, classes = tmp_path_factory.mktemp("examples"), {}
    for name, (begin, end) in examples.items():
        path = folder / f"example_{name.lower()}.py"
        path.write_text(textwrap.dedent(base.__doc__.split(begin)[1].partition(end)[0]))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        classes[name] = getattr(module, name)
    yield classes
    for name in examples:
        del sys.modules[f"example_{name.lower()}"]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["NoisyLogits", "Coded"])
def test_documented_examples_fulfil_the_contract(documented, name, check):
    CHECKS[check](Subject(documented[name]))
