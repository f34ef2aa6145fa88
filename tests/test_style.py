"""Rules of CONTRIBUTING.md that a program can check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lines_of_code import lines_of_code

ROOT = Path(__file__).parents[1]
CODE = sorted([*ROOT.glob("bench/**/*.py"), *ROOT.glob("distillers/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
VAGUE_NAMES = {
    "found", "one", "said", "of", "made", "asked", "whole", "held", "own", "known", "given", "told",
}  # fmt: skip
VAGUE_MODULES = {"utils", "util", "helpers", "common", "core", "misc"}
OLD_WORDS = re.compile(
    r"\b(whoever|whatever|nowhere|afresh|anew|come upon|comes upon|bears|lacks|parted|of no use|"
    r"heard|goes on|at work|stands twice|is no [a-z]|none is)\b",
    re.IGNORECASE,
)
# Mathematics that distillers share. Not named without the underscore: a file without one is a
# distiller. Tests check these two modules on their own.
TESTED_PRIVATE_MODULES = {"_memory_bank", "_optimal_transport"}
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 8
MAX_FILE_LINES = 300
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """Return a path relative to the repository."""
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[Function]:
    """Yield every function of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, Function):
            yield node


def is_verb(path: Path) -> bool:
    """Return whether a file holds verbs, whose parameters are Typer's options."""
    return path.parent.name == "cli"


def has_options(path: Path, function: Function) -> bool:
    """Return whether a function's parameters are options, of a verb or of a distiller."""
    is_distiller = path.parent.name == "distillers" and function.name == "__init__"
    return is_verb(path) or is_distiller


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_names_say_what_they_hold(path: Path) -> None:
    names = {
        f"{node.lineno}: {node.id}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE_NAMES
    }
    names |= {
        f"{function.lineno}: {argument.arg}"
        for function in functions(path)
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.arg in VAGUE_NAMES
    }
    assert names == set()
    assert path.stem not in VAGUE_MODULES


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_functions_and_files_are_short(path: Path) -> None:
    for function in functions(path):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= MAX_FUNCTION_LINES or is_verb(path), f"{function.name} has {lines} lines"
        count = len(function.args.args) + len(function.args.kwonlyargs)
        own = {"self", "cls"} & {argument.arg for argument in function.args.args}
        assert count - len(own) <= MAX_PARAMETERS or has_options(path, function), (
            f"{function.name} has {count - len(own)} parameters"
        )
    assert lines_of_code(path.read_text("utf-8")) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_prose_avoids_old_words(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert [f"{i}: {line}" for i, line in enumerate(lines, 1) if OLD_WORDS.search(line)] == []


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=name_of)
def test_pages_avoid_old_words(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert [f"{i}: {line}" for i, line in enumerate(lines, 1) if OLD_WORDS.search(line)] == []


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_records_are_read_by_attribute(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"\.get\([^()]*\) or [{(\[]", text) == []


def method_names() -> set[str]:
    """Return the names of the papers' methods and of all distillers, without the two roles."""
    text = (ROOT / "distillers" / "methods.yaml").read_text("utf-8")
    names = set(re.findall(r"^([a-z0-9+]+):", text, re.M))
    names |= {path.stem for path in ROOT.glob("distillers/[a-z]*.py")}
    return names - {"base", "student", "teacher"}


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_no_code_branches_on_the_name_of_a_method(path: Path) -> None:
    names = method_names()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            texts = {side.value for side in sides if isinstance(side, ast.Constant)}
            assert not texts & names, f"line {node.lineno} compares with {texts & names}"


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_import_public_names_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            package = node.module.split(".")[0]
            if package in ("bench", "distillers"):
                modules = node.module.split(".") if package == "bench" else []  # distillers' files
                parts = [*modules, *(alias.name for alias in node.names)]
                private = [part for part in parts if re.match(r"_[a-z]", part)]
                private = [part for part in private if part not in TESTED_PRIVATE_MODULES]
                assert private == [], f"line {node.lineno} imports {private}"
