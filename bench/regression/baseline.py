"""What is recorded of a suite, to hold later records against."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.regression.cells import Cell, from_entries
from bench.report.cells import Entry
from bench.report.wording import joined


@dataclass(frozen=True)
class Baseline:
    """Means, spreads and seeds of every cell of a suite, for every metric that was recorded."""

    suite: str
    cells: tuple[Cell, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # versions, device, commit
    made: str | None = None  # when its last run ended, ISO 8601

    @property
    def trouble(self) -> tuple[str, ...]:
        """The cells that lack a result without being impossible: no baseline should be so."""
        return tuple(
            f"{cell.name}: {cell.hole.reason}"
            for cell in self.cells
            if cell.hole and (cell.hole.status != "skipped" or cell.metrics)
        )

    @property
    def title(self) -> str:
        """`the baseline of quickstart (commit 61fcf1e, 2026-11-21)`."""
        commit = self.environment.get("commit", "")
        short = commit[:7] + ("+" if commit.endswith("+") else "")
        told = [f"commit {short}" if commit else "", (self.made or "")[:10]]
        said = ", ".join(part for part in told if part)
        return f"the baseline of {self.suite}" + (f" ({said})" if said else "")


def baseline(entries: Iterable[Entry], suite: str) -> Baseline:
    """The baseline of a suite's records; the same records give the same baseline."""
    asked = list(entries)
    records = [entry.record for entry in asked if entry.record is not None]
    made = max((str(record.get("finished") or "") for record in records), default="")
    return Baseline(suite, tuple(from_entries(asked)), environment(records), made or None)


def environment(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What records were made with: each key with all of its values."""
    found: dict[str, set[str]] = {}
    for record in records:
        if record.get("status") == "done":
            for key, value in (record.get("environment") or {}).items():
                if value is not None:
                    found.setdefault(key, set()).add(str(value))
    return {key: joined(sorted(values)) for key, values in found.items()}
