"""A module imports only modules in rows above its own in ARCHITECTURE.md; its answers are true."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = {"bench", "distillers"}


def layers() -> dict[str, int]:
    """Return each module's row in ARCHITECTURE.md's table of layers, counted from the top."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text.split("<!-- layers -->")[1]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {
        name: place
        for place, row in enumerate(rows)
        for name in re.findall(r"`([\w.]+)`", row.split("|")[1])
    }


def without_torch() -> set[str]:
    """Return the rows that are marked in ARCHITECTURE.md as not importing torch."""
    table = (ROOT / "ARCHITECTURE.md").read_text().split("<!-- layers -->")[1]
    return set(re.findall(r"^\| `([\w.]+)` \|.*Without torch \|$", table, re.M))


def modules() -> dict[str, Path]:
    paths = {}
    for package in sorted(OWN):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            paths[".".join(parts).removesuffix(".__init__")] = path
    return paths


def layer(name: str, rows: dict[str, int]) -> str | None:
    """Return the row of a module: its own, or that of its package; `bench` has a row of its own."""
    while name and name not in rows:
        name = name.rpartition(".")[0]
        if name == "bench":
            return None
    return name or None


def imports(path: Path, modules: dict[str, Path]) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in OWN}


def test_every_module_has_a_row_and_every_row_a_module() -> None:
    rows, paths = layers(), modules()
    assert {name for name in paths if layer(name, rows) is None} == set()
    assert {name for name in rows if name not in paths} == set()


def test_every_answer_names_a_file_and_a_definition() -> None:
    """The rows of "Where is …" and "Where to add what" match the code."""
    text = (ROOT / "ARCHITECTURE.md").read_text().split("## Layers")[0].split("## Where is …")[1]
    for row in (line for line in text.splitlines() if line.startswith("| ")):
        answer = row.split("|")[2]
        paths = re.findall(r"`((?:bench|distillers)/[\w./]*)`", answer)
        assert [path for path in paths if not (ROOT / path).exists()] == []
        for path, name in re.findall(r"`([\w/]+\.py)`, `([\w.]+)`", answer):
            assert re.search(
                rf"^\s*(def|class) {name.rpartition('.')[2]}\b", (ROOT / path).read_text(), re.M
            ), f"{path} does not define {name}"


def test_imports_go_one_way() -> None:
    rows, paths = layers(), modules()
    wrong = []
    for name, path in paths.items():
        own = layer(name, rows)
        for other in imports(path, paths):
            theirs = layer(other, rows)
            assert own is not None
            assert theirs is not None
            if own != theirs and rows[theirs] >= rows[own]:
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_marked_modules_are_imported_without_torch() -> None:
    rows, marked = layers(), without_torch()
    names = [name for name in modules() if layer(name, rows) in marked and "__main__" not in name]
    assert {"bench.suite.checks", "bench.report.build", "bench.cli.report"} <= {*names}
    names += ["distillers.declaration", "bench.models", "bench.planning.plan"]
    code = f"import sys; sys.modules['torch'] = None; [__import__(name) for name in {names}]"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_distillers_import_nothing_from_bench() -> None:
    paths = modules()
    for name, path in paths.items():
        if name.startswith("distillers"):
            assert not {i for i in imports(path, paths) if i.startswith("bench")}, name


def test_only_one_module_imports_mlflow() -> None:
    for name, path in modules().items():
        if re.search(r"^\s*(import|from) mlflow", path.read_text(), re.M):
            assert name == "bench.callbacks.mlflow"
