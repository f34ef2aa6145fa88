"""Data as text for people: tables, counts, states of runs."""

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
        rows: Rows with equal keys.
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
    """Return methods as rows, pairs as columns; each cell counts the runs that are done."""
    methods = dict.fromkeys(method for pair in pairs for method in pair["methods"])
    header = ["done / total", *(pair["pair"].replace("/", "\n", 1) for pair in pairs)]
    rows = [["teacher", *(_states(pair["teachers"]) for pair in pairs)]]
    rows += [
        [name, *(_states(pair["methods"].get(name, {})) for pair in pairs)] for name in methods
    ]
    return tabulate(rows, headers=header, disable_numparse=True)


def _states(counts: Mapping[str, int]) -> str:
    """`3 / 5`, then runs that are neither done nor to do: `3 / 5, 1 failed`."""
    if not counts:
        return ""
    if set(counts) == {"skipped"}:
        return "skipped"
    lost = [f"{n} {state}" for state, n in counts.items() if state not in ("done", "to do")]
    return ", ".join([f"{counts.get('done', 0)} / {sum(counts.values())}", *lost])


def reasons(runs: Iterable[Content]) -> list[str]:
    """Return a line for each reason of a state, with the name of the first run that has it."""
    groups = group_reasons((run["state"], run["name"], run["reason"]) for run in runs)
    return [": ".join(filter(None, group)) for group in groups if group[2]]


def paragraphs(*blocks: str | Iterable[str]) -> str:
    """Join blocks of lines by empty lines; empty blocks are left out."""
    texts = (block if isinstance(block, str) else "\n".join(block) for block in blocks)
    return "\n\n".join(filter(None, texts))
