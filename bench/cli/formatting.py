"""Format data as text: tables, counts and states of runs."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.callbacks.console import group_reasons

Content = Mapping[str, Any]


def table(rows: Sequence[Content]) -> str:
    """Return an aligned table whose last column is wrapped to the terminal's width.

    Columns without a value are left out.

    Args:
        rows: One mapping per row, from column name to value; all have the same keys.
    """
    if not rows:
        return ""
    keys = [key for key in rows[0] if any(row[key] not in (None, "") for row in rows)]
    cells = [[_cell(row[key]) for key in keys] for row in rows]
    *widths, _ = (2 + max(map(len, column)) for column in zip(keys, *cells, strict=True))
    room = max(30, shutil.get_terminal_size((120, 24)).columns - sum(widths) - 2 * len(widths))
    texts = {key for key in keys if any(isinstance(row[key], str) for row in rows)}
    return tabulate(
        [[*first, textwrap.fill(last, room)] for *first, last in cells],
        headers=[key.replace("_", "-") for key in keys],
        disable_numparse=True,
        colalign=["left" if key in texts else "right" for key in keys],
    )


def _cell(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value or ""


def state_grid(pairs: Sequence[Content]) -> str:
    """Return a table of finished runs / all runs, with methods as rows and pairs as columns."""
    methods = dict.fromkeys(method for pair in pairs for method in pair["methods"])
    header = ["done / total", *(pair["pair"].replace("/", "\n", 1) for pair in pairs)]
    rows = [["teacher", *(_states(pair["teachers"]) for pair in pairs)]]
    rows += [
        [name, *(_states(pair["methods"].get(name, {})) for pair in pairs)] for name in methods
    ]
    return tabulate(rows, headers=header, disable_numparse=True)


def _states(counts: Mapping[str, int]) -> str:
    """Return `3 / 5` (done / all runs), or `3 / 5, 1 failed` with the other states."""
    if not counts:
        return ""
    if set(counts) == {"skipped"}:
        return "skipped"
    lost = [f"{n} {state}" for state, n in counts.items() if state not in ("done", "to do")]
    return ", ".join([f"{counts.get('done', 0)} / {sum(counts.values())}", *lost])


def reasons(runs: Iterable[Content]) -> list[str]:
    """Return `state: first run and 2 more: reason` for each state and reason."""
    groups = group_reasons((run["state"], run["name"], run["reason"]) for run in runs)
    return [": ".join(filter(None, group)) for group in groups if group[2]]


def paragraphs(*blocks: str | Iterable[str]) -> str:
    """Join blocks of lines with empty lines between; skip empty blocks."""
    texts = (block if isinstance(block, str) else "\n".join(block) for block in blocks)
    return "\n\n".join(filter(None, texts))
