"""Documents name files, modules, tox environments and packages that exist."""

import configparser
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.benchmarks import summary

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("SECURITY.md", "PERFORMANCE.md", *(
    str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))
))  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_a_document_lead_to_files(document: str) -> None:
    path = ROOT / document
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", path.read_text("utf-8"))]
    assert [link for link in links if link and "://" not in link
            and not (path.parent / link).exists()] == []  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_of_a_document_name_things_that_exist(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    assert [name for name in re.findall(r"\btox -e ([\w-]+)", text)
            if f"testenv:{name}" not in tox] == []  # fmt: skip
    assert [name for name in re.findall(r"\bpython -m (tests\.[\w.]+\w)", text)
            if find_spec(name) is None] == []  # fmt: skip
    assert [name for name in re.findall(r"\b(?:tests|bench|docs)/[\w./-]*\w", text)
            if not (ROOT / name).exists()] == []  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_no_tests(document: str) -> None:
    assert re.findall(r"::test_\w+", (ROOT / document).read_text("utf-8")) == []


def test_performance_shows_the_tables_of_the_raw_numbers_within_120_lines() -> None:
    text = (ROOT / "PERFORMANCE.md").read_text("utf-8")
    assert len(text.splitlines()) <= 120
    for table in summary.tables():
        assert table in text
