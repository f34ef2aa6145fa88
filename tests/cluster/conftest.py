from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import Commands, server


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """`bench` in the test's folder."""
    with server() as process:
        yield Commands(tmp_path, process)
