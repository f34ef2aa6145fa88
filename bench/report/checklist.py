"""The report card of a suite: what a reviewer asks about its numbers, answered from records.

Records may disagree, for example if two machines ran a suite. Then all their values are listed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from bench.config.text import count
from bench.errors import BenchError, unknown
from bench.report import controls, experiment, labels
from bench.report.caption import how_tested, tested
from bench.report.document import Document, spans
from bench.report.labels import join, sentences
from bench.report.model import Row, Table
from bench.report.provenance import (
    DIGITS,
    ROLES,
    environment,
    networks,
    section,
    teachers,
    times,
)
from bench.report.writers import save
from bench.report.writers.latex import latex
from bench.report.writers.markdown import markdown
from bench.report.writers.text import text
from bench.results.measured import measured_metrics
from bench.results.record import Record

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.results import Results
    from bench.suite import Method

FORMATS = ("md", "tex", "txt")


def checklist(plan: "Plan", results: "Results", tables: Sequence[Table]) -> Document:
    """Return the report card of a suite.

    Args:
        plan: The plan of the suite.
        results: The results folder.
        tables: The tables of top-1 accuracy of the suite.
    """
    records = [record for id in plan.runs if (record := results.summary(id))]
    done = [record for record in records if record.status == "done"]
    answers = [
        ("Epoch", _epoch(done)),
        ("Runs", _runs(plan, records)),
        ("Spread", _spread(plan, tables)),
        ("Comparisons", _comparisons(tables)),
        ("Tuning", tuning(plan)),
        ("Controls", _controls(tables)),
        ("Data", _data(plan)),
        ("Choices on test images", _test_images(plan, done)),
        ("Recipe", _recipes(plan)),
        ("Deviations", _deviations(plan, tables)),
        ("Missing results", _missing(plan, records)),
    ]
    sections = (
        section("Questions", ["Question", "Answer"], answers, wrapped=True),
        teachers(plan, done),
        environment(done),
        networks(plan, done),
        times(plan, done),
    )
    caption = "made from the records of the runs; where records disagree, all values are listed"
    title = labels.one_line(f"{plan.suite.title}: report card")
    return Document(title, spans(sentences([caption])), sections, (), "top1")


def render(
    document: Document,
    name: str,
    *,
    label: str = "",
    standalone: bool = False,
    wide: bool = False,
) -> str:
    """Return a report card in a format of `FORMATS`; `bench.report.render` has the arguments."""
    if name == "tex":
        return latex([document], label, standalone, wide)
    return markdown(document) if name == "md" else text(document)


def write(
    document: Document,
    folder: Path,
    stem: str,
    formats: Iterable[str],
    *,
    standalone: bool = False,
    wide: bool = False,
) -> list[Path]:
    """Write a report card as <stem>-checklist.<format>; other formats of tables are skipped.

    Raises:
        BenchError: No format is one of `FORMATS`, or a file cannot be written.
    """
    stem = f"{stem}-checklist"
    chosen = [name for name in formats if name in FORMATS]
    if not chosen:
        raise BenchError(unknown("format of a report card", ",".join(formats), FORMATS))
    return [
        save(
            folder / f"{stem}.{name}",
            render(document, name, label=stem, standalone=standalone, wide=wide).encode(),
        )
        for name in chosen
    ]


def tuning(plan: "Plan") -> str:
    """Return how the weights and options of methods were chosen, as far as the plan knows."""
    usual: list[str] = []
    changed: list[str] = []
    tuned = {search.method for search in plan.searches}
    for method in (method for method in plan.suite.methods if not method.control):
        if method.name in tuned:
            continue
        (usual if _is_papers(method) else changed).append(method.label)
    return sentences(
        [
            *experiment.tuning(plan.suite),
            *(f"trials of {each.method} on {each.pair}: {each.text}" for each in plan.searches),
            "" if tuned else "not tuned by this suite: it searches no weight and no option",
            f"settings of the papers: {join(usual)}" if usual else "",
            f"settings of the suite: {join(changed)}" if changed else "",
            "records do not say how these settings were chosen" if usual or changed else "",
        ]
    )


def _is_papers(method: "Method") -> bool:
    """Return whether a method of the suite has the papers' weights and options."""
    from bench.suite import papers

    usual = {key: term.content for key, term in papers(method.name).items()}
    return {key: term.content for key, term in method.terms.items()} == usual


def _epoch(done: Sequence[Record]) -> str:
    """Return which epoch is reported, and how far the best epoch on the test set is above it."""
    trained = [record for record in done if record.specification.epochs]
    gains = [
        numbers["oracle"] - numbers["top1"]
        for record in trained
        if {"oracle", "top1"} <= (numbers := measured_metrics(record)).keys()
    ]
    above = ""
    if gains:
        above = (
            f"the best evaluated epoch on the test set is {fmean(gains):.2f} points better (mean "
            f"of {count(len(gains), 'run')}; at most {max(gains):.2f}); only the metric oracle "
            "uses it"
        )
    return sentences(["every number is of the last epoch; no epoch was chosen", above])


def _runs(plan: "Plan", records: Sequence[Record]) -> str:
    states = Counter((ROLES[record.kind], record.status) for record in records)
    counts = [f"{count(n, role)} {status}" for (role, status), n in states.items()]
    absent = len(plan.runs) - len(records)
    counts += [f"{count(absent, 'run')} without a record"] if absent else []
    suite = plan.suite
    seeds = sorted({cell.seed for cell in plan.cells})
    least = f"{suite.settling.first} to " if suite.settling else ""
    design = (
        f"n = {least}{count(len(seeds), 'seed')} ({', '.join(map(str, seeds))}) of each of "
        f"{count(len({c.method.name for c in plan.cells}), 'method')} on "
        f"{count(len({c.pair.name for c in plan.cells}), 'pair')}"
    )
    part = f"a part of the suite: {', '.join(plan.departures)}" if plan.departures else ""
    return sentences([f"suite {suite.name}: {design}", part, join(counts) if counts else ""])


def _spread(plan: "Plan", tables: Sequence[Table]) -> str:
    deviations = [
        cell.measured.std
        for cell in (cell for table in tables for cell in table.cells)
        if cell.role != "teacher" and cell.measured and cell.measured.std is not None
    ]
    seed = plan.suite.teacher_seed
    teacher = "each seed has its own teacher" if seed == "same" else "all seeds have one teacher"
    varied = f"a seed changes initial weights, order and augmentation of the images; {teacher}"
    if not deviations:
        return sentences(["single runs: no spread is known", varied])
    middle = median(deviations)
    about = (
        f"standard deviation (n − 1) over seeds: {min(deviations):.2f} to {max(deviations):.2f} "
        f"points, median {middle:.2f} ({count(len(deviations), 'cell')})"
    )
    return sentences([about, varied])


def _comparisons(tables: Sequence[Table]) -> str:
    parts = []
    for table in tables:
        if table.baseline and tested(table.rows):
            amount = f"{table.tolerance:g} {table.metric.difference_unit}"
            name = f"{table.title}: " if len(tables) > 1 else ""
            versus = f"differences from {table.baseline.label}"
            parts.append(f"{name}{versus}: {how_tested(table.rows)}; tolerance {amount}")
    return sentences(parts or ["none: no two methods were compared statistically"])


def _controls(tables: Sequence[Table]) -> str:
    rows: dict[str, Row] = {
        row.name: row for table in tables for row in table.rows if row.role == "control"
    }
    if not rows:
        return sentences(["none; the key `controls: true` of a suite adds controls"])
    names = [row.label.removeprefix(controls.LABEL) for row in rows.values()]
    return sentences([f"{join(names)}; the notes of the table compare the methods with them"])


def _data(plan: "Plan") -> str:
    suite, facts = plan.suite, plan.facts
    counts = (
        f"{count(facts.train, 'training image')} of {facts.classes} classes, "
        f"{count(facts.test, 'test image')}"
    )
    digest = facts.fingerprint.removeprefix("sha256:")[:DIGITS]
    parts = [
        f"{labels.data_set(suite.data.spec)}: {counts}",
        facts.incomplete,
        f"the SHA-256 of the images begins with {digest}" if digest else "",
        "all seeds have the same images",
    ]
    if suite.teacher_data:
        images = labels.data_set(suite.teacher_data.spec)
        parts.append(f"teachers are trained on {images}")
    return sentences(parts)


def _test_images(plan: "Plan", done: Sequence[Record]) -> str:
    suite = plan.suite
    parts = ["none: no epoch, seed, weight or option was chosen on test images by this suite"]
    if "calibration" in suite.evaluate and not suite.data.validation:
        half = "the temperature of ece_scaled and nll_scaled is fitted on half of the test images"
        parts[0] = f"one: {half}; no epoch, seed, weight or option was chosen on test images"
    shared = {n for r in done if (n := r.data.get("test_images_in_train"))}
    parts += [f"{count(n, 'test image')} are also training images" for n in sorted(shared)]
    if any(run.checkpoint for run in plan.runs.values()):
        parts.append("records do not say how the weights in checkpoints of teachers were chosen")
    return sentences(parts)


def _recipes(plan: "Plan") -> str:
    pairs = plan.suite.pairs
    trained = [(p.teacher.network, p.teacher.recipe) for p in pairs if not p.teacher.checkpoint]
    students = labels.recipes([(pair.student, pair.recipe) for pair in pairs])
    taught = f"teachers: {labels.recipes(trained)}" if trained else ""
    return sentences([f"students: {students}", taught])


def _deviations(plan: "Plan", tables: Sequence[Table]) -> str:
    """Return the notes of columns and rows, each with the columns or rows that have it."""
    notes: dict[str, list[str]] = {}
    for table in tables:
        named = [(f"pair {column.name}", column.note) for column in table.columns]
        named += [(f"method {r.label}", r.note) for r in table.rows if r.role != "control"]
        for name, note in named:
            if note and name not in notes.setdefault(note, []):
                notes[note].append(name)
    parts = [f"{join(names)}: {note}" for note, names in notes.items()]
    if plan.suite.data.name != "cifar100":
        parts.append("recipes are not compared: the papers' recipe is for CIFAR-100")
    return sentences(parts or ["none from the papers in data, recipes, weights and options"])


def _missing(plan: "Plan", records: Sequence[Record]) -> str:
    names = plan.names()
    reasons: dict[str, list[str]] = {}
    for record in records:
        if record.status != "done":
            last = labels.one_line((record.reason or "no reason").strip().splitlines()[-1])
            reasons.setdefault(f"{record.status}: {last}", []).append(names[record.id])
    if absent := len(plan.runs) - len(records):
        reasons["not run yet"] = [count(absent, "run")]
    return sentences([f"{why} ({join(runs)})" for why, runs in reasons.items()] or ["none"])
