"""The papers' methods in distillers/methods.yaml, and the registry."""

import inspect
from importlib.resources import files

import pytest
import yaml

import distillers

METHODS = yaml.safe_load(files("distillers").joinpath("methods.yaml").read_text("utf-8"))
PAPERS_ORDER = (
    "student kd fitnet at sp cc rkd pkt crd crd+kd wcord wcord+kd dcd dcd+kd".split()  # noqa: SIM905
)


def test_methods_stand_in_the_papers_order():
    assert list(METHODS) == PAPERS_ORDER


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_made_of_distillers_and_their_options(name):
    method = METHODS[name]
    assert method.keys() == {"label", "terms", "source"}
    assert method["label"].lower() == name
    for term, given in method["terms"].items():
        options = given if isinstance(given, dict) else {"weight": given}
        assert all(type(value) is float for value in options.values()), "as YAML 1.1 reads it"
        known = inspect.signature(distillers.load(term)).parameters
        assert options.keys() - {"weight"} <= known.keys()
        assert options["weight"] > 0


@pytest.mark.parametrize("name", [name for name in METHODS if name.endswith("+kd")])
def test_with_kd_is_one_term_more(name):
    plain = METHODS[name.removesuffix("+kd")]["terms"]
    assert METHODS[name]["terms"] == {**plain, "kd": 1.0}


def test_every_distiller_is_used():
    assert {term for method in METHODS.values() for term in method["terms"]} == set(
        distillers.names()
    )


def test_a_name_that_is_none():
    with pytest.raises(KeyError, match="no distiller 'crdd'"):
        distillers.load("crdd")


@pytest.mark.parametrize("name", distillers.names())
def test_a_distillers_name_is_that_of_its_file(name):
    assert distillers.load(name).__module__ == f"distillers.{name}"
