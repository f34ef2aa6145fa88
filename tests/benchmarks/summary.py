"""Print the three tables of PERFORMANCE.md and draw its pictures, from docs/performance.

`python -m tests.benchmarks.summary [FOLDER]` reads the Markdown tables that the benchmarks printed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import tabulate
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RAW = Path(__file__).parents[2] / "docs" / "performance"
PRECISIONS = ("float32", "bf16")
CORES = {"one core": "steps-one-core", "two cores": "steps-two-cores"}
COLOURS = {"float32": "#4477aa", "bf16": "#ee8866"}
OTHER_FILES = ("fairness", "ceiling", "data-evaluation", "scores", "memory", "commands")


@dataclass(frozen=True)
class Entry:
    """One row of a raw table, as printed; `ratio_spread` and `spread` are quartiles over rounds."""

    part: str
    what: str
    value: str
    spread: str
    ratio_of: str
    ratio: str
    ratio_spread: str
    rounds: str
    target: str
    verdict: str


def read(folder: Path, name: str) -> list[Entry]:
    """Return the rows of a raw file's table."""
    lines = (folder / f"{name}.md").read_text("utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [Entry(*(cell.strip() for cell in line[1:-1].split("|"))) for line in table]


def find(entries: Sequence[Entry], part: str, what: str, ratio_of: str = "") -> Entry:
    """Return the one row with this part and subject, and this ratio if there are several."""
    (entry,) = (e for e in entries if (e.part, e.what) == (part, what) and ratio_of in e.ratio_of)
    return entry


def ratio_cell(entry: Entry) -> str:
    """Return "median (quartiles) verdict" of a ratio."""
    return f"{entry.ratio} ({entry.ratio_spread}) {entry.verdict}".strip()


def methods_table(folder: Path) -> str:
    """Return the table of each method alone, on one core."""
    entries = read(folder, CORES["one core"])
    rows = []
    for name in method_names(entries):
        subjects = [f"{name}, {precision}" for precision in PRECISIONS]
        faster = [find(entries, "alone", subject) for subject in subjects]
        cells = [ratio_cell(entry) for entry in faster]
        if name == "kd":
            cells += ["1", "1"]
        else:
            cells += [ratio_cell(find(entries, "vs kd", subject)) for subject in subjects]
        rows.append([name, faster[0].target, *cells])
    headers = ["method", "float32 target", "speed-up, float32", "speed-up, bf16",
               "time / KD, float32", "time / KD, bf16"]  # fmt: skip
    return markdown(rows, headers)


def lockstep_table(folder: Path) -> str:
    """Return the table of all methods in lockstep."""
    rows = []
    for cores, name in CORES.items():
        entries = read(folder, name)
        (count,) = {e.what.split(",")[0] for e in entries if e.ratio_of == "this / floor"}
        for precision in PRECISIONS:
            subject = f"{count}, {precision}"
            speed = find(entries, "lockstep", subject, "reference / this")
            floor = find(entries, "lockstep", f"floor, {precision}")
            excess = find(entries, "lockstep", subject, "this / floor")
            rows.append([f"{cores}, {precision}", ratio_cell(speed), speed.target,
                         ratio_cell(floor), ratio_cell(excess), excess.target])  # fmt: skip
    headers = ["setting", "speed-up", "target", "speed-up of the floor", "time / floor", "target"]
    return markdown(rows, headers)


def other_table(folder: Path) -> str:
    """Return the table of all other measurements that have a ratio or a target."""
    rows = []
    for name in OTHER_FILES:
        for entry in read(folder, name):
            if is_baseline(entry) or not (entry.ratio or entry.target):
                continue
            rows.append(
                [
                    f"{entry.part}: {entry.what}",
                    f"{entry.value} ({entry.spread})" if entry.spread else entry.value,
                    f"{entry.ratio} ({entry.ratio_spread})" if entry.ratio_spread else entry.ratio,
                    entry.ratio_of,
                    entry.rounds,
                    f"{entry.target} {entry.verdict}".strip(),
                    f"[{name}](docs/performance/{name}.md)",
                ]
            )
    return markdown(rows, ["what", "median", "ratio", "ratio of", "n", "target", "raw"])


def is_baseline(entry: Entry) -> bool:
    """Return whether the row is divided by itself."""
    return entry.ratio_spread == "1.00 to 1.00" or (
        entry.ratio_of.startswith("this / ") and entry.ratio_of[len("this / ") :] in entry.what
    )


def markdown(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Return a Markdown table with all cells as they are."""
    return tabulate.tabulate(rows, headers, "pipe", disable_numparse=True)


def method_names(entries: Sequence[Entry]) -> list[str]:
    """Return the methods that were timed alone, in the suite's order."""
    return [e.what.removesuffix(", float32") for e in entries
            if e.part == "alone" and e.what.endswith(", float32") and e.target]  # fmt: skip


def draw_speed(folder: Path) -> Figure:
    """Draw the speed-up of each method and of lockstep, and a step's time by number of methods."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    entries = read(folder, CORES["one core"])
    names = method_names(entries)
    (together,) = {e.what.split(",")[0] for e in entries if e.ratio_of == "this / floor"}
    for shift, precision in enumerate(PRECISIONS):
        bars = [find(entries, "alone", f"{name}, {precision}") for name in names]
        bars.append(find(entries, "lockstep", f"{together}, {precision}", "reference / this"))
        medians = [float(e.ratio) for e in bars]
        ends = zip(*(map(float, e.ratio_spread.split(" to ")) for e in bars), strict=True)
        low, high = ([abs(end - mid) for end, mid in zip(side, medians, strict=True)]
                     for side in ends)  # fmt: skip
        places = [place + 0.4 * shift for place in range(len(bars))]
        left.barh(places, medians, 0.4, xerr=[low, high], label=precision,
                  color=COLOURS[precision])  # fmt: skip
    left.set_yticks([place + 0.2 for place in range(len(names) + 1)],
                    [*names, f"{together} in lockstep"])  # fmt: skip
    left.invert_yaxis()
    left.axvline(1, color="black", linewidth=0.8)
    left.set(xlabel="speed-up over the reference (one core)")
    left.legend(frameon=False)
    growth_panel(right, [e for e in read(folder, "growth") if e.part == "growth: methods"])
    right.set(xlabel="methods in lockstep, float32", ylabel="ms a step")
    return figure


def draw_growth(folder: Path) -> Figure:
    """Draw a step's time against each quantity that was varied."""
    entries = read(folder, "growth")
    axes = list(dict.fromkeys(e.part for e in entries))
    figure = Figure(figsize=(3 * len(axes), 2.6), layout="constrained")
    for panel, part in zip(figure.subplots(1, len(axes)), axes, strict=True):
        growth_panel(panel, [e for e in entries if e.part == part])
        panel.set(xlabel=part.removeprefix("growth: "), ylabel="ms")
    return figure


def growth_panel(panel: Axes, entries: Sequence[Entry]) -> None:
    """Draw medians as a line and quartiles as a band."""
    x = [float(e.what) for e in entries]
    low, high = zip(*(map(float, e.spread.split(" to ")) for e in entries), strict=True)
    panel.plot(x, [float(e.value.split()[0]) for e in entries], "o-", color="black", markersize=3)
    panel.fill_between(x, low, high, alpha=0.3)
    panel.set(ylim=(0, 1.1 * max(high)), xlim=(0, None))
    panel.locator_params(axis="x", nbins=4)


def tables(folder: Path = RAW) -> list[str]:
    """Return the three tables of PERFORMANCE.md."""
    return [methods_table(folder), lockstep_table(folder), other_table(folder)]


def main(folder: Path = RAW) -> None:
    """Print the tables; write `speed.svg` and `growth.svg` into the folder."""
    print(*tables(folder), sep="\n\n")
    with mpl.rc_context({"svg.hashsalt": "distillbench", "svg.fonttype": "none"}):
        for name, draw in (("speed", draw_speed), ("growth", draw_growth)):
            draw(folder).savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
