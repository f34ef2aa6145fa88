"""Inputs from public reports, with their right outcome; a test marked `case("id")` checks each."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent
AREAS = {  # file of cases -> heading
    "checkpoints": "Checkpoints",
    "images": "Images",
    "suites": "Suites",
    "networks": "Networks",
    "plugins": "Plugins, identity, provenance",
    "outputs": "Outputs",
    "environment": "Environment, archives, stores",
}
Cases = Mapping[str, Mapping[str, str]]  # id -> input and right outcome


def read() -> dict[str, Cases]:
    """Return the cases of each area."""
    return {area: yaml.safe_load((FOLDER / f"{area}.yaml").read_text("utf-8")) for area in AREAS}


def tests() -> dict[str, list[str]]:
    """Return the names of the tests that check each case, `file::test`, from their decorators."""
    names: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for test, case in _marks(ast.parse(path.read_text("utf-8"))):
            names[case].append(f"{path.relative_to(TESTS.parent)}::{test}")
    return dict(names)


def _marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.case":
                    yield from ((node.name, ast.literal_eval(case)) for case in mark.args)


def tables() -> list[str]:
    """Return the lines of the page: a table for each area."""
    names, lines = tests(), []
    for area, cases in read().items():
        lines += [f"## {AREAS[area]}", "", "| input | right | tests |", "|---|---|---|"]
        for case, entry in cases.items():
            listed = "<br>".join(f"`{name}`" for name in names.get(case, ())) or "**open**"
            lines.append(f"| {_cell(entry['input'])} | {_cell(entry['right'])} | {listed} |")
        lines.append("")
    return lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
