"""Warnings about results that suggest a mistake in the suite; the warnings are printed as notes.

For example, a teacher at chance accuracy makes all results of its students useless.
"""

from collections.abc import Iterable, Iterator, Sequence

from bench.config.text import count
from bench.report import labels
from bench.report.labels import join
from bench.report.model import Cell, Column, Entry, Row
from bench.results.record import Record
from bench.spec import SMALL_LR, SMALL_LR_STUDENTS

CHANCE_DEVIATIONS = 3.0  # accuracies up to 3 standard deviations above chance count as chance
NAMED_RUNS = 3  # runs that a warning names
SMALLER = 5.0  # suggested divisor of lr if runs diverge: the papers use 0.05 and 0.01


def warnings(rows: Sequence[Row], columns: Sequence[Column], runs: Iterable[Entry]) -> list[str]:
    """Return the warnings about a table of accuracies.

    Args:
        rows: The rows of the table; their metric must be top-1 accuracy in percent.
        columns: The pairs of the table.
        runs: The runs of the table.

    Returns:
        Sentences about five kinds of problems: teachers at chance accuracy, teachers less accurate
        than their plain student (trained without a teacher), methods below the plain student in
        most pairs, networks whose runs diverged, and test images that are also training images.
    """
    entries = list(runs)
    return [
        *_teachers_at_chance(entries),
        *_weak_teachers(rows, columns),
        *_weak_methods(rows),
        *_diverging(entries),
        *_shared_images(entries),
    ]


def _teachers_at_chance(entries: Sequence[Entry]) -> Iterator[str]:
    records = {e.record.id: e.record for e in entries if e.role == "teacher" and e.record}
    for record in records.values():
        classes, images = record.data.get("classes"), record.data.get("test_images")
        if not classes or not images or record.top1 is None:
            continue
        chance = 100 / classes
        deviation = (chance * (100 - chance) / images) ** 0.5
        if record.top1 <= chance + CHANCE_DEVIATIONS * deviation:
            name = labels.network(record.network.name)
            yield (
                f"the teacher {name} (seed {record.seed}) has {record.top1:.2f} %, about chance "
                f"({chance:.2f} %): its students learn nothing from it"
            )


def _weak_teachers(rows: Sequence[Row], columns: Sequence[Column]) -> Iterator[str]:
    for place, column in enumerate(columns):
        means = {row.role: mean for row in rows if (mean := _mean(row.cells[place])) is not None}
        teacher, student = means.get("teacher"), means.get("student")
        if teacher is not None and student is not None and teacher < student:
            yield (
                f"the teacher of {column.name} has {teacher:.2f} %, less than the plain student's "
                f"{student:.2f} %"
            )


def _weak_methods(rows: Sequence[Row]) -> Iterator[str]:
    plain = next((row for row in rows if row.role == "student"), None)
    names = []
    for row in rows if plain else ():
        if row.role != "method" or plain is None:
            continue
        pairs = [
            (mean, base)
            for mean, base in zip(map(_mean, row.cells), map(_mean, plain.cells), strict=True)
            if mean is not None and base is not None
        ]
        below = sum(mean < base for mean, base in pairs)
        if 2 * below > len(pairs):
            names.append(f"{row.label} ({below} of {len(pairs)})")
    if names:
        yield f"mean below the plain student's in most pairs: {join(names)}"


def _diverging(entries: Sequence[Entry]) -> Iterator[str]:
    runs: dict[tuple[str, float], list[Record]] = {}
    for record in {e.record.id: e.record for e in entries if e.record}.values():
        key = record.network.name, record.specification.recipe.lr
        runs.setdefault(key, []).append(record)
    for (network, lr), records in runs.items():
        diverged = sum(record.status == "diverged" for record in records)
        if not diverged:
            continue
        is_small = network in SMALL_LR_STUDENTS and lr > SMALL_LR
        advice = f"the papers use {SMALL_LR:g}" if is_small else f"try {lr / SMALLER:g}"
        yield (
            f"{diverged} of {len(records)} runs of {labels.network(network)} diverged with lr "
            f"{lr:g}; {advice} in the recipe of its pair"
        )


def _shared_images(entries: Sequence[Entry]) -> Iterator[str]:
    for counts in (entry.record.data for entry in entries if entry.record):
        if copies := counts.get("test_images_in_train"):
            total = counts.get("test_images", copies)
            share = f"{copies} of {total} test images ({100 * copies / total:.3g} %)"
            yield f"{share} are also training images: the accuracy includes them"
            return


def disagreements(runs: Iterable[Entry]) -> Iterator[str]:
    """Yield a sentence about runs whose record on another machine has other numbers, if any."""
    names = [*{e.record.id: e.record.name for e in runs if e.record and e.differs}.values()]
    if names:
        more = [f"{len(names) - NAMED_RUNS} more"] if len(names) > NAMED_RUNS else []
        yield (
            f"records of {count(len(names), 'run')} from several machines have different numbers: "
            f"{join([*names[:NAMED_RUNS], *more])}; `bench merge` lists the numbers"
        )


def _mean(cell: Cell) -> float | None:
    return cell.measured.mean if cell.measured else None
