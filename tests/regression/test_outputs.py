"""The same verdicts as text, JSON, JUnit XML and Markdown: compared with golden text."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from bench import regression, report
from tests.golden_text import with_golden_digits
from tests.regression.factory import RECIPE, entries, unfinished
from tests.regression.test_check import changed

GOLDEN = Path(__file__).parent / "golden"
NASTY = 'a|b <i>&amp; *x* "q" ]]> \x1b[31m \x00 \ud800 λ 中'
BEFORE = {
    "student": [95.0, 95.2, 94.9],
    "kd": [96.0, 96.1, 95.8],
    "sp": [95.5, 95.6, 95.3],
    "at": [94.0, 95.0, 94.4],
    "crd": [97.1, 96.9, 97.0],
    "dcd": [96.4, 96.6, 96.5],
    "pkt": [95.0, 95.1, 95.2],
}


def verdicts():
    base = regression.baseline(list(entries(BEFORE)), "quickstart")
    kept = {
        method: [
            value - 2 * (method == "kd") - 0.8 * (method == "at") for value in reversed(values)
        ]
        for method, values in BEFORE.items()
        if method not in ("pkt", "student", "sp")
    }
    longer = {"recipe": {**RECIPE, "epochs": 30}}
    now = [
        *entries({"student": BEFORE["student"]}),
        *entries(kept, first=3, environment={"torch": "2.16.0"}),
        *entries({"sp": [95.4, 95.6, 95.5]}, first=3, of=longer),
        *entries({"rkd": [96.0, 96.2, 96.1]}, first=3),
    ]
    now = changed(now, "crd", lambda each: None)
    now = changed(
        now,
        "dcd",
        lambda each: (
            unfinished("diverged", "diverged at epoch 12") if each.seed == 4 else each.record
        ),
    )
    return regression.check(now, base)


def text(result):
    return report.text(regression.verdicts_document(result))


def markdown(result):
    return report.markdown(regression.verdicts_document(result))


WRITERS = {
    "check.txt": text,
    "check.json": lambda result: (
        json.dumps(regression.verdicts_data(result), indent=1, ensure_ascii=False) + "\n"
    ),
    "check.xml": regression.verdicts_junit,
}


@pytest.mark.parametrize("name", WRITERS)
def test_golden(name):
    expected = (GOLDEN / name).read_text("utf-8")
    assert with_golden_digits(WRITERS[name](verdicts()), expected) == expected


def test_the_golden_verdicts_show_every_outcome_of_a_check():
    result = verdicts()
    assert result.counts == {
        "regression": 1, "failed": 1, "missing": 2, "inconclusive": 1, "pass": 2, "uncompared": 1,
    }  # fmt: skip
    assert (result.exit_code(), regression.verdicts_data(result)["exit_code"]) == (1, 1)


def test_junit_is_xml_with_counts_that_hold():
    for strict in (False, True):
        root = ET.fromstring(regression.verdicts_junit(verdicts(), strict))
        [suite] = root
        cases = suite.findall("testcase")
        assert (root.tag, suite.tag) == ("testsuites", "testsuite")
        assert int(suite.get("tests")) == len(cases) == 8
        for kind, total in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.get(total)) == len(suite.findall(f"testcase/{kind}"))
        assert {case.get("classname") for case in cases} == {"quickstart.resnet8x4/resnet8"}
        failed = {
            case.get("name"): case.find("failure")
            for case in cases
            if case.find("failure") is not None
        }
        assert set(failed) == ({"kd", "at", "sp"} if strict else {"kd"})
        assert failed["kd"].get("type") == "regression"
        if strict:
            assert failed["sp"].get("message") == "another setting: recipe.epochs 20 → 30"


def nasty():
    result = verdicts()
    cells = [
        replace(cell, pair=NASTY, method=NASTY, reason=NASTY, notes=(NASTY,))
        for cell in result.cells
    ]
    return replace(result, suite=NASTY, against=NASTY, cells=tuple(cells), notes=(NASTY,))


def test_no_name_breaks_a_format():
    root = ET.fromstring(regression.verdicts_junit(nasty()).encode())
    assert len(root.findall("testsuite/testcase")) == 8
    assert "\x1b" not in text(nasty())
    rows = [line for line in markdown(nasty()).splitlines() if line.startswith("| ")]
    for row in rows:
        assert row.replace(r"\|", "").count("|") == 9
        assert "<i>" not in row
    json.loads(json.dumps(regression.verdicts_data(nasty())))


def test_an_empty_comparison_is_still_a_document():
    empty = regression.compare([], [])
    assert text(empty).startswith("nothing compared (0 cells)\n")
    assert "## nothing compared" in markdown(empty)
    assert ET.fromstring(regression.verdicts_junit(empty)).find("testsuite").get("tests") == "0"
    assert regression.verdicts_data(empty)["cells"] == []


def test_markdown_folds_cells_that_need_no_attention():
    head, folded = markdown(verdicts()).split("<details>")
    assert "| regression   |" in head
    assert "| pass " not in head
    assert "| pass " in folded
    quiet = regression.check(list(entries(BEFORE)), regression.baseline(list(entries(BEFORE)), "q"))
    assert "<summary>7 cells</summary>" in markdown(quiet)


def test_the_gate_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, bench.regression, bench.stats.comparison; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
