"""The papers' methods in distillers/methods.yaml, and the registry."""

import inspect
from importlib.resources import files

import pytest
import yaml

import distillers
from bench import models
from bench.suite import papers

METHODS = yaml.safe_load(files("distillers").joinpath("methods.yaml").read_text("utf-8"))
PAPERS_ORDER = (
    "student kd fitnet at sp cc rkd pkt crd crd+kd wcord wcord+kd dcd dcd+kd".split()  # noqa: SIM905
)


def test_methods_are_in_the_papers_order():
    assert list(METHODS)[: len(PAPERS_ORDER)] == PAPERS_ORDER


@pytest.mark.parametrize("name", METHODS)
def test_terms_of_a_method_are_distillers_with_their_options(name):
    method = METHODS[name]
    assert {"label", "terms", "source"} <= method.keys()
    assert method.keys() <= {"label", "terms", "source", "pairs", "best_epoch"}
    for changes in ({}, *method.get("pairs", {}).values()):
        assert changes.keys() <= method["terms"].keys()
        for term, value in method["terms"].items():
            options = value if isinstance(value, dict) else {"weight": value}
            options = options | changes.get(term, {})
            parameters = inspect.signature(distillers.load(term)).parameters
            assert options.keys() - {"weight", "warmup"} <= parameters.keys()
            assert type(options["weight"]) is float, "as YAML 1.1 reads it"
            assert options["weight"] > 0
            assert type(options.get("warmup", 0)) is int


@pytest.mark.parametrize("name", METHODS)
def test_settings_for_single_pairs_name_networks_of_this_package(name):
    for pair in METHODS[name].get("pairs", {}):
        teacher, student = pair.split("/")
        assert {teacher, student} <= set(models.names())
        usual = {term: value.content for term, value in papers(name).items()}
        assert {term: value.content for term, value in papers(name, pair).items()} != usual


@pytest.mark.parametrize("name", [name for name in METHODS if name.endswith("+kd")])
def test_method_with_kd_adds_one_term(name):
    plain = METHODS[name.removesuffix("+kd")]["terms"]
    assert METHODS[name]["terms"] == {**plain, "kd": 1.0}


def test_every_distiller_is_in_a_method():
    assert {term for method in METHODS.values() for term in method["terms"]} == set(
        distillers.names()
    )


@pytest.mark.parametrize("name", ["crdd", "base", "_memory_bank"])
def test_unknown_name_is_rejected(name):
    with pytest.raises(KeyError, match=f"no distiller '{name}'. Allowed: ab, at, "):
        distillers.load(name)


@pytest.mark.parametrize("name", distillers.names())
def test_distiller_has_the_name_of_its_file(name):
    assert distillers.load(name).__module__ == f"distillers.{name}"
