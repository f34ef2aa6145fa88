"""`python -m tests.cases`: run the tests of all cases, then write docs/CASES.md."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.cases import TESTS, read, tables

PAGE = TESTS.parent / "docs" / "CASES.md"
HEAD = """# Cases

Each row is an input that failed in a public report or in a trial, the right outcome, and the tests
that check it. `python -m tests.cases` ran these tests and wrote this page at commit {commit}:
{count} cases, {outcomes}.

"""


class Outcomes:
    """A plugin of pytest that counts tests by outcome."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: when it was called, skipped before the call, or failed elsewhere."""
        if report.when == "call" or report.skipped or report.failed:
            self.counts[report.outcome] += 1


def main() -> int:
    """Write the page; return pytest's exit code."""
    outcomes = Outcomes()
    code = pytest.main(["-q", "-m", "case", str(TESTS), *sys.argv[1:]], plugins=[outcomes])
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    text = ", ".join(f"{number} tests {outcome}" for outcome, number in outcomes.counts.items())
    count = sum(map(len, read().values()))
    head = HEAD.format(commit=commit, count=count, outcomes=text or "no tests")
    PAGE.write_text(head + "\n".join(tables()), "utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
