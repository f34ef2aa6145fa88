"""A declaration, which is read without torch, equals the class in the same file."""

import inspect
from typing import Any

import pytest

import distillers
from bench.suite.json_schema import text_of
from distillers.declaration import Declaration, has_head, reads_of_teacher

ATTRIBUTES = [name for name in inspect.get_annotations(Declaration) if name != "paper"]


def options(cls: type[Declaration]) -> dict[str, Any]:
    """Return kind and default of each parameter after `self` and `setting`, and its type."""
    _self, _setting, *rest = inspect.signature(cls.__init__).parameters.values()
    types = inspect.get_annotations(cls.__init__, eval_str=True)
    return {p.name: (p.kind, p.default, types.get(p.name)) for p in rest}


@pytest.mark.parametrize("name", distillers.names())
def test_declaration_equals_the_class(name: str) -> None:
    declared, loaded = distillers.declared(name), distillers.load(name)
    assert declared.__name__ == loaded.__name__
    assert [(a, getattr(declared, a, None)) for a in ATTRIBUTES] == [
        (a, getattr(loaded, a, None)) for a in ATTRIBUTES
    ]
    assert declared.paper == loaded.paper
    assert options(declared) == options(loaded)
    assert has_head(declared) == has_head(loaded)
    assert reads_of_teacher(declared) == reads_of_teacher(loaded)
    assert text_of(declared) == text_of(loaded)
