"""Data as text for people: tables, counts, states of runs."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

Content = Mapping[str, Any]


def count(n: int, noun: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def table(rows: Sequence[Content], right: Sequence[str] = ()) -> str:
    """Return an aligned table whose last column is wrapped to the terminal's width.

    Args:
        rows: Rows with equal keys.
        right: Columns that are aligned to the right; those of numbers always are.
    """
    if not rows:
        return ""
    keys = list(rows[0])
    numbers = {key for key in keys if all(isinstance(row[key], int | float) for row in rows)}
    cells = [[f"{row[k]:,}" if k in numbers else str(row[k] or "") for k in keys] for row in rows]
    *widths, _ = (2 + max(map(len, column)) for column in zip(keys, *cells, strict=True))
    room = max(30, shutil.get_terminal_size((120, 24)).columns - sum(widths) - 2 * len(widths))
    return aligned(
        [key.replace("_", "-") for key in keys],
        [[*first, textwrap.fill(last, room)] for *first, last in cells],
        ["right" if key in numbers or key in right else "left" for key in keys],
    )


def aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[str] | None = None
) -> str:
    """Return rows of text as an aligned table."""
    return tabulate(rows, headers=header, disable_numparse=True, colalign=sides)


def state_grid(pairs: Sequence[Content]) -> str:
    """Return methods as rows, pairs as columns; each cell counts the runs that are done."""
    methods = dict.fromkeys(method for pair in pairs for method in pair["methods"])
    header = ["done / asked", *(pair["pair"].replace("/", "\n", 1) for pair in pairs)]
    rows = [["teacher", *(_states(pair["teachers"]) for pair in pairs)]]
    rows += [
        [name, *(_states(pair["methods"].get(name, {})) for pair in pairs)] for name in methods
    ]
    return aligned(header, rows)


def _states(counts: Mapping[str, int]) -> str:
    """`3 / 5`, then runs that are neither done nor to do: `3 / 5, 1 failed`."""
    if not counts:
        return ""
    if set(counts) == {"skipped"}:
        return "skipped"
    lost = [f"{n} {state}" for state, n in counts.items() if state not in ("done", "to do")]
    return ", ".join([f"{counts.get('done', 0)} / {sum(counts.values())}", *lost])


def reasons(runs: Iterable[Content]) -> Iterator[str]:
    """Yield a line for each reason of a state, with the name of the first run that has it."""
    names: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        if run["reason"]:
            names.setdefault((run["state"], run["reason"]), []).append(run["name"])
    for (state, reason), group in names.items():
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        yield ": ".join(filter(None, (state, f"{group[0]}{more}", reason)))


def paragraphs(*blocks: str | Iterable[str]) -> str:
    """Join blocks of lines by empty lines; empty blocks are left out."""
    texts = (block if isinstance(block, str) else "\n".join(block) for block in blocks)
    return "\n\n".join(filter(None, texts))
