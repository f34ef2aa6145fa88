"""Documents name commands and modules that exist, no tests, and tables of the raw numbers."""

import configparser
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.benchmarks import summary

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
]


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if "performance/" in name])
def test_links_lead_to_files(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tox_environments_exist(document: str) -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    names = re.findall(r"\btox -e ([\w-]+)", (ROOT / document).read_text("utf-8"))
    assert [name for name in names if f"testenv:{name}" not in tox] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_of_tests_exist(document: str) -> None:
    names = re.findall(r"\bpython -m (tests\.[\w.]*\w)", (ROOT / document).read_text("utf-8"))
    assert [name for name in names if find_spec(name) is None] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_of_pytest_exist(document: str) -> None:
    names = re.findall(r"\btests/[\w./-]*\w", (ROOT / document).read_text("utf-8"))
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", [page for page in DOCUMENTS if page != "docs/CASES.md"])
def test_no_test_is_named(document: str) -> None:
    assert re.findall(r"::test_\w+", (ROOT / document).read_text("utf-8")) == []


def test_performance_shows_the_tables_of_the_raw_numbers() -> None:
    text = (ROOT / "PERFORMANCE.md").read_text("utf-8")
    assert [table for table in summary.tables() if table not in text] == []
