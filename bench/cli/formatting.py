"""Format data as text: tables, counts and states of runs."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from tabulate import tabulate

from bench.config.text import group_reasons

GAP = 2  # spaces between two columns
MIN_COLUMN = 20  # characters: the narrowest width to which text is wrapped

Content = Mapping[str, Any]


def table(rows: Sequence[Content]) -> str:
    """Return an aligned table for the terminal; columns without a value are left out.

    A table that is too wide is split: each part repeats the first column.

    Args:
        rows: One mapping per row, from column name to value; all have the same keys.
    """
    if not rows:
        return ""
    keys = [key for key in rows[0] if any(row[key] not in (None, "") for row in rows)]
    texts = {key for key in keys if any(isinstance(row[key], str) for row in rows)}
    header = [key.replace("_", "-") for key in keys]
    cells = [[_cell(row[key]) for key in keys] for row in rows]
    return grid(header, cells, ["left" if key in texts else "right" for key in keys])


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    """Return text cells as a table that is at most as wide as the terminal.

    Args:
        header: A title for each column; it may have several lines.
        rows: The cells of each row.
        align: `left` or `right` for each column.
    """
    width = shutil.get_terminal_size((120, 24)).columns
    widths = [  # tabulate pads titles by this gap
        max(_width(title) + GAP, *map(_width, column))
        for title, *column in zip(header, *rows, strict=True)
    ]
    room = max(MIN_COLUMN, width - min(widths[0], width // 2) - GAP)
    widths = [widths[0], *(min(room, column) for column in widths[1:])]
    parts: list[list[int]] = []
    used = width
    for index, column in list(enumerate(widths))[1:]:
        if used + GAP + column > width:
            parts.append([0])
            used = widths[0]
        parts[-1].append(index)
        used += GAP + column
    return "\n\n".join(
        tabulate(
            [[_wrap(row[index], widths[index]) for index in part] for row in rows],
            headers=[header[index] for index in part],
            disable_numparse=True,
            colalign=[align[index] for index in part],
        )
        for part in parts or [[0]]
    )


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def _wrap(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _cell(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value or ""


def state_grid(pairs: Sequence[Content]) -> str:
    """Return a table of `finished runs / all runs`: a row per method, a column per pair."""
    methods = dict.fromkeys(method for pair in pairs for method in pair["methods"])
    header = ["done / total", *(pair["pair"].replace("/", "\n", 1) for pair in pairs)]
    rows = [["teacher", *(_states(pair["teachers"]) for pair in pairs)]]
    rows += [
        [name, *(_states(pair["methods"].get(name, {})) for pair in pairs)] for name in methods
    ]
    return grid(header, rows, ["left"] * len(header))


def measure_grid(measures: Sequence[Content]) -> str:
    """Return a table of `measured networks / all networks`, with one row per measure."""
    rows = [[each["measure"], _states(each["states"])] for each in measures]
    return grid(["measure", "done / total"], rows, ["left", "left"]) if rows else ""


def trial_lines(content: Content) -> list[str]:
    """Return a line on the trials of each tuned method of a plan."""
    return [f"{each['method']} on {each['pair']}: {each['state']}" for each in content["trials"]]


def _states(counts: Mapping[str, int]) -> str:
    """Return `3 / 5` (done / all runs); for runs that failed, `3 / 5, 1 failed`."""
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
    """Join blocks by empty lines; empty blocks are left out.

    Args:
        *blocks: Each is a text, which stays unchanged, or a sequence of lines. A line without line
            breaks is wrapped to the terminal's width.
    """
    width = max(MIN_COLUMN, shutil.get_terminal_size((120, 24)).columns)
    fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    texts = (
        block
        if isinstance(block, str)
        else "\n".join(line if "\n" in line else fill(line) for line in block)
        for block in blocks
    )
    return "\n\n".join(filter(None, texts))
