"""Hostile text in suites and records stays text in every output."""

import csv
import io
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.execution.protocol import Task
from bench.report import FORMATS, ReportOptions, render
from bench.report.build import all_tables, table
from bench.report.model import Entry, Report, TableContext
from bench.report.writers.html import page
from bench.results import Results
from bench.results.record import Record
from bench.spec import DataSpec
from tests import toy
from tests.command import ROOT, bench
from tests.records import make_epoch, make_record
from tests.soak import times

pytestmark = [pytest.mark.slow, pytest.mark.soak]
often = settings(
    max_examples=times(40, 4_000), derandomize=True, deadline=None, database=None
)  # fmt: skip

PIECES = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!--", "-->", "]]>",
    "javascript:alert(1)", '" onload="x', "' style='x", "{{x}}", "${x}", "&lt;", "`", "|", "\\|",
    "[x](javascript:x)", "![x](http://x)", "\n# x", "\n\n- x", "\\input{/etc/passwd}", "}{", "~",
    "\\end{tabular}", "\\write18{touch x}", "^^5cinput", "\\\\", "&", "%", "$$", "=1+1", "+x", "-x",
    "@SUM(A1)", "\t=1", "\r=1", '","', ";", "\x1b[2J", "\x1b]0;x\x07", "\x9b31m", "\x7f", "\0",
    "\u202e", "\u2066", "\u200b", "\ud800", "\U000e0041", "кd", "é", "中", "λ", "😀",
)  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=6).map("".join)
APART = " ".join(map(chr, [*range(33, 0x3D0), *range(0x2010, 0x2300)]))  # no commands, alone


def entries(text: str) -> list[Entry]:
    """Three pairs: of numbers, of a failure, and of nothing; every text of them is that text."""
    made = []
    for pair, top1 in (("a", 70.0), ("b", None), ("c", None)):
        for method, role in (("teacher", "teacher"), ("student", "student"), ("kd", "method")):
            for seed in (0, 1):
                record = _record(f"{pair}{method}{seed}", text, top1, seed) if pair != "c" else None
                of = f"{pair}{text}", text, text, f"{method}{text}"
                made.append(Entry(*of, seed, record, text or "x", text, role))
    return made


def _record(run: str, text: str, top1: float | None, seed: int) -> Record:
    metrics = (
        {"last": {"top1": top1 + seed}, "oracle": {"top1": top1 + seed, "epoch": 1}} if top1 else {}
    )
    specification = {
        "network": text, "method": {text: {"weight": 1.0}}, "data": {"name": text},
    }  # fmt: skip
    return make_record(
        run, seed, name=text, status="done" if top1 else "failed", reason=None if top1 else text,
        metrics=metrics, network={"name": text}, specification=specification,
        environment={"torch": text, "device": text, "precision": text},
        teacher={"id": text, "network": text, "sha256": text, "top1": 1.0},
        weights=text, started=text, finished=text,
        curves=[make_epoch(1, test={"top1": 1.0})] if top1 else [],
    )  # fmt: skip


def outputs(text: str) -> dict[str, str]:
    """Every format of the table and of its statistics, and the page."""
    about = TableContext(text, text, DataSpec(name=text))
    runs = entries(text)
    made = Report.of(text, [table(runs, about)], runs)
    tables = {
        name: render(made, name, label=text, options=ReportOptions(standalone=True))
        for name in FORMATS
    }
    statistics = {
        f"statistics.{name}": render(
            made, name, "statistics", label=text, options=ReportOptions(standalone=True)
        )
        for name in FORMATS
    }
    return {**tables, **statistics, "html": page(runs, about, all_tables(runs, about))}


class Page(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[tuple[str, str]] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {(tag, key) for key, _ in attrs}


def commands(text: str) -> set[str]:
    return set(re.findall(r"\\(?:[A-Za-z]+\*?|.)", text, re.S))


@cache
def plain_outputs() -> dict[str, str]:
    """The outputs for a text without special characters."""
    return outputs("x")


@cache
def safe_commands() -> set[str]:
    """The commands of LaTeX without a text, and with each special character alone."""
    names = "tex", "statistics.tex"
    return commands("".join(outputs(text)[name] for text in ("", APART) for name in names))


@often
@given(TEXT)
@example("".join(PIECES))
@example("\ud800")
def test_a_text_stays_a_text(text: str) -> None:
    found = outputs(text)
    for name, content in found.items():
        assert content.encode(), name
        hidden = {c for c in content if not c.isprintable()} - {"\n"}
        assert not hidden, (name, hidden)
    for name in ("md", "statistics.md"):
        markdown(found[name])
    for name in ("tex", "statistics.tex"):
        latex(found[name])
    for name in ("csv", "statistics.csv"):
        spreadsheet(found[name], plain_outputs()[name])
    for name in ("json", "statistics.json"):
        assert json.loads(found[name])
    html(found["html"])


def markdown(text: str) -> None:
    """No element but ours, and rows of equal length."""
    assert not set("<>") & set(re.sub(r"</?(?:sup|u)>|<br>", "", text))
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        bare = [re.sub(r"\\.", "", line) for line in block.splitlines()]
        assert len({line.count("|") for line in bare}) == 1
    assert not re.search(r"(?<!\\)\]\(", text)


def latex(text: str) -> None:
    """No command but those that single characters stand for, and braces that match."""
    assert commands(text) <= safe_commands()
    assert "^^" not in text
    depth = 0
    for char in re.sub(r"\\[\\{}%]", "", text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        assert depth >= 0
    assert depth == 0


def spreadsheet(text: str, plain: str) -> None:
    """As many rows and fields as ever, and no formula among them."""
    rows, usual = (list(csv.reader(io.StringIO(one))) for one in (text, plain))
    assert [len(row) for row in rows] == [len(row) for row in usual]
    for field in (field for row in rows for field in row):
        if field.startswith(("=", "+", "-", "@")):
            float(field)


def html(text: str) -> None:
    """The tags and attributes of a page with plain texts, no link that leaves it, its policy."""
    found, expected = Page(text), Page(plain_outputs()["html"])
    assert set(found.tags) == set(expected.tags)
    assert found.attributes <= expected.attributes  # figures leave out names that do not fit
    assert found.tags.count("script") == 1
    policy = r'<meta http-equiv="Content-Security-Policy" content="[^"]*">'
    assert re.findall(policy, text) == re.findall(policy, plain_outputs()["html"]) != []


def test_terminal_receives_no_control_sequences(here: Path) -> None:
    """Records and files come from elsewhere: with sequences that move, hide, rename, answer."""
    plan, results = toy.plan(here), Results(here / "results")
    hostile = "".join(piece for piece in PIECES if "\n" not in piece and piece != "\ud800")
    for run in plan.runs.values():
        results.write(Task(run.id, hostile, run.specification).record("failed", hostile))
    folder = here / "\x1b[2J\x9b31m"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "a\x1b]0;x\x07\udcff.log").touch()
    (folder / "toy.yaml").write_text((here / "toy.yaml").read_text())
    quickstart = "baseline", "quickstart", "--results", ROOT / "results" / "quickstart"
    for arguments in (
        ("status", "toy.yaml"), ("status", "toy.yaml", "--json"), ("plan", "toy.yaml"),
        ("report", "toy.yaml"), ("teachers", "toy.yaml"), ("show", folder), ("run", "toy\x1b[2J"),
        ("status", "toy.yaml", "--results", folder), ("report", "toy.yaml", "--results", folder),
        ("clean", "--results", folder), ("clean", "--results", folder, "--yes"),
        ("validate", folder / "toy.yaml"), (*quickstart, "--output", folder / "b.json"),
    ):  # fmt: skip
        result = bench(*arguments)
        assert result.output
        odd = {c for c in result.output if not c.isprintable()} - {"\n"}
        assert not odd, (arguments, odd)
