"""SECURITY.md: every promise has its tests, every limit is the one that holds."""

import ast
import importlib
import re

import pytest

from tests.command import ROOT

TEXT = (ROOT / "SECURITY.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table below a heading."""
    _, _, rest = TEXT.partition(f"\n## {heading}\n")
    lines = re.findall(r"^\| (.*) \|$", rest.partition("\n## ")[0], re.M)
    return [line.split(" | ") for line in lines[1:]]


@pytest.mark.parametrize("row", rows("Promises"), ids=lambda row: row[0][:40])
def test_a_promise_has_tests_that_exist(row: list[str]) -> None:
    _, named = row
    assert re.fullmatch(r"(`tests/[\w/]+\.py::test_\w+` ?)+", named)
    for path, test in re.findall(r"`(tests/\S+)::(\w+)`", named):
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", rows("Limits"), ids=lambda row: row[0])
def test_a_limit_is_the_one_that_holds(row: list[str]) -> None:
    constant, value, _ = row
    module, _, name = constant.strip("`").rpartition(".")
    assert getattr(importlib.import_module(module), name) == int(value.replace(",", ""))


def test_the_tables_are_there() -> None:
    assert len(rows("Promises")) > 10
    assert len(rows("Limits")) > 5
