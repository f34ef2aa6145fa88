"""The fault table of docs/RELIABILITY.md names tests that are there, and all of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "RELIABILITY.md").read_text()


def test_each_row_names_a_test_and_each_file_of_faults_has_a_row() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TABLE)
    assert named
    for file, test in named:
        assert f"def {test or 'test_'}" in (ROOT / file).read_text(), f"{file}::{test}"
    files = {f"tests/faults/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert files - {file for file, _ in named} == {"tests/faults/test_document.py"}
