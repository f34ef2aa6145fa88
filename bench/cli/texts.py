"""What the verbs found out, as text for people."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Content = Mapping[str, Any]

MORE = {  # beside what `bench list` can enumerate
    "networks": "and every classifier of timm and torchvision: timm:NAME, torchvision:NAME",
    "datasets": "and any folder of images: folder:PATH, with train/ and test/ or val/ in it",
}


def plan(content: Content) -> str:
    """What would run where, pair by pair and method by method, and what it takes."""
    parts = [_summary(content["suite"], content["runs"]), _work(content), "", _grid(content)]
    parts += ["", "networks, and their multiply-adds for one image", table(content["networks"])]
    if content["memory"]:
        parts += ["", "memory banks and other buffers, the most of all pairs"]
        parts += [table(content["memory"])]
    reasons = list(_reasons(content["runs"]))
    return "\n".join([*parts, *(["", *reasons] if reasons else [])])


def status(content: Content) -> str:
    """How many runs are in which state, pair by pair, and why some have no result."""
    counts = ", ".join(f"{n} {state}" for state, n in content["counts"].items())
    reasons = list(_reasons(content["without_result"]))
    head = [f"{content['suite']}: {counts}", "", _grid(content)]
    return "\n".join([*head, *(["", *reasons] if reasons else [])])


def teachers(rows: Sequence[Content]) -> str:
    """A line for each teacher; why some are not there stands below."""
    shown = [
        {
            "teacher": row["network"],
            "seed": row["seed"],
            "from": row["from"],
            "state": row["state"],
            "top-1": "" if row["top1"] is None else f"{row['top1']:.2f}",
            "promised": "" if row["manifest"] is None else f"{row['manifest']:.2f}",
            "weights": row["weights"] or "",
            "sha256": (row["sha256"] or "")[:12],
        }
        for row in rows
    ]
    empty = {key for key in ("promised", "weights", "sha256") if not any(row[key] for row in shown)}
    kept = [{key: row[key] for key in row if key not in empty} for row in shown]
    reasons = [f"{row['network']} seed {row['seed']}: {row['reason']}" for row in rows]
    told = [text for text, row in zip(reasons, rows, strict=True) if row["reason"]]
    return "\n".join([table(kept, right=["top-1", "promised"]), *(["", *told] if told else [])])


def listing(what: str, rows: Sequence[Content]) -> str:
    """A listing, its last column wrapped to the terminal's width."""
    return "\n".join([table(rows), *(["", MORE[what]] if what in MORE else [])])


def counted(n: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def table(rows: Sequence[Content], right: Sequence[str] = ()) -> str:
    """Rows of equal keys as an aligned table; numbers, and the columns named, stand to the right.

    Where it is wider than the terminal its last column is wrapped.
    """
    if not rows:
        return ""
    keys = list(rows[0])
    numbers = {key for key in keys if all(isinstance(row[key], int | float) for row in rows)}
    cells = [[f"{row[k]:,}" if k in numbers else str(row[k] or "") for k in keys] for row in rows]
    *widths, _ = (2 + max(len(key), *map(len, of)) for key, *of in zip(keys, *cells, strict=True))
    room = max(30, shutil.get_terminal_size((120, 24)).columns - sum(widths) - 2 * len(widths))
    return _aligned(
        [key.replace("_", "-") for key in keys],
        [[*first, textwrap.fill(last, room)] for *first, last in cells],
        ["right" if key in numbers or key in right else "left" for key in keys],
    )


def _aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[str] | None = None
) -> str:
    from tabulate import tabulate  # it takes as long as all that --help needs

    return tabulate(rows, headers=header, disable_numparse=True, colalign=sides)


def _summary(suite: str, runs: Sequence[Content]) -> str:
    """`toy: 2 students (1 done, 1 to do), 1 teacher (1 done)`."""
    parts = []
    for kind in ("student", "teacher"):
        states = Counter(run["state"] for run in runs if run["kind"] == kind)
        counts = ", ".join(f"{n} {state}" for state, n in states.items())
        parts.append(f"{counted(states.total(), kind)} ({counts})")
    return f"{suite}: {', '.join(parts)}"


def _work(content: Content) -> str:
    """How many cohorts, and on which devices."""
    if not content["cohorts"]:
        return "nothing to do"
    where = []
    for of in content["devices"]:
        gpu = "" if of["device"] == "cpu" else f"{of['device']}, "
        where.append(f"{of['at_a_time']} at a time on {gpu}{of['name']}")
    cohorts = counted(content["cohorts"], "cohort")
    return f"to do in {cohorts}, of runs that share a teacher's passes: {'; '.join(where)}"


def _grid(content: Content) -> str:
    """Methods as rows, pairs as columns, in each cell how many of its runs are done."""
    pairs = content["pairs"]
    methods = dict.fromkeys(method for pair in pairs for method in pair["methods"])
    header = ["done / asked", *(pair["pair"].replace("/", "\n", 1) for pair in pairs)]
    rows = [["teacher", *(_cell(pair["teachers"]) for pair in pairs)]]
    rows += [[name, *(_cell(pair["methods"].get(name, {})) for pair in pairs)] for name in methods]
    return _aligned(header, rows)


def _cell(counts: Mapping[str, int]) -> str:
    """`3 / 5`, and what is neither done nor to do: `3 / 5, 1 failed`; `skipped` if all are."""
    if not counts:
        return ""
    if set(counts) == {"skipped"}:
        return "skipped"
    lost = [f"{n} {state}" for state, n in counts.items() if state not in ("done", "to do")]
    return ", ".join([f"{counts.get('done', 0)} / {sum(counts.values())}", *lost])


def _reasons(runs: Sequence[Content]) -> Iterator[str]:
    """A line for each reason that runs have no result, with the first of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        if run["reason"]:
            found.setdefault((run["state"], run["reason"]), []).append(run["name"])
    for (state, reason), names in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{state}: {names[0]}{more}: {reason}"
