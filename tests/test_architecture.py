"""Imports go one way: a module imports only what stands above it in ARCHITECTURE.md."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = {"bench", "distillers"}


def drawing() -> dict[str, int]:
    """For each module its row in ARCHITECTURE.md's table of layers, from the top."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text.split("<!-- layers -->")[1]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {
        name: place
        for place, row in enumerate(rows)
        for name in re.findall(r"`([\w.]+)`", row.split("|")[1])
    }


def modules() -> dict[str, Path]:
    found = {}
    for package in sorted(OWN):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def layer(name: str, rows: dict[str, int]) -> str | None:
    """The row that holds a module: its own, or that of the package it is in; `bench` is its own."""
    while name and name not in rows:
        name = name.rpartition(".")[0]
        if name == "bench":
            return None
    return name or None


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in OWN}


def test_every_module_is_in_the_drawing_and_every_row_exists() -> None:
    rows, known = drawing(), modules()
    assert {name for name in known if layer(name, rows) is None} == set()
    assert {name for name in rows if name not in known} == set()


def test_imports_go_one_way() -> None:
    rows, known = drawing(), modules()
    wrong = []
    for name, path in known.items():
        own = layer(name, rows)
        for other in imports(path, known):
            theirs = layer(other, rows)
            assert own is not None
            assert theirs is not None
            if own != theirs and rows[theirs] >= rows[own]:
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_distillers_know_nothing_of_bench() -> None:
    known = modules()
    for name, path in known.items():
        if name.startswith("distillers"):
            assert not {i for i in imports(path, known) if i.startswith("bench")}, name


def test_mlflow_is_imported_in_one_place() -> None:
    for name, path in modules().items():
        if re.search(r"^\s*(import|from) mlflow", path.read_text(), re.M):
            assert name == "bench.callbacks.mlflow"
