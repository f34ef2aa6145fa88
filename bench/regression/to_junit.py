"""Verdicts as JUnit XML, which CI systems show beside their tests."""

from xml.etree import ElementTree as ET

from bench.regression.to_text import columns, heading, numbers, remarks
from bench.regression.verdicts import Outcome, Verdict, Verdicts
from bench.report.markup import line

_FAILURES: tuple[Outcome, ...] = ("regression",)
_ERRORS: tuple[Outcome, ...] = ("failed", "missing")
_SKIPPED: tuple[Outcome, ...] = ("inconclusive", "skipped", "uncompared")


def junit(found: Verdicts, strict: bool = False) -> str:
    """One test case a cell: failure, error (no result), skipped (no verdict), or passed.

    strict: what is inconclusive, or was compared in another setting, fails, as it does in the exit
    code. Times are zero: nothing ran.
    """
    kinds = [_kind(cell, strict) for cell in found.cells]
    totals = {
        "name": line(f"bench {found.kind} {found.suite}").strip(),
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": "0",
    }
    root = ET.Element("testsuites", {key: v for key, v in totals.items() if key != "skipped"})
    suite = ET.SubElement(root, "testsuite", totals)
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(found).items():
        ET.SubElement(properties, "property", {"name": name, "value": line(value)})
    for cell, kind in zip(found.cells, kinds, strict=True):
        _case(suite, cell, kind, found)
    told = [*heading(found), *remarks(found)]
    ET.SubElement(suite, "system-out").text = "\n".join(line(each) for each in told)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _kind(cell: Verdict, strict: bool) -> str:
    """What a cell is to JUnit; empty: passed."""
    if cell.outcome in _FAILURES or (strict and cell.doubtful):
        return "failure"
    if cell.outcome in _ERRORS:
        return "error"
    return "skipped" if cell.outcome in _SKIPPED else ""


def _properties(found: Verdicts) -> dict[str, str]:
    return {
        "metric": found.metric.name,
        "tolerance": f"{found.tolerance:g}",
        "against": found.against,
        "outcome": found.outcome,
    }


def _case(suite: ET.Element, cell: Verdict, kind: str, found: Verdicts) -> None:
    classname = ".".join(part for part in (found.suite, cell.pair) if part)
    of = {"classname": line(classname), "name": line(cell.method), "time": "0"}
    case = ET.SubElement(suite, "testcase", of)
    known = zip(columns(found), numbers(cell, found.metric), strict=True)
    details = [f"{head}: {value}" for head, value in known if value]
    told = "\n".join(line(each) for each in (cell.reason, *details, *cell.notes))
    if kind:
        well = cell.altered and cell.outcome not in (*_FAILURES, "inconclusive")
        child = ET.SubElement(case, kind, {"message": line(cell.notes[0] if well else cell.reason)})
        if kind != "skipped":
            child.set("type", cell.outcome)
            child.text = told
            return
    ET.SubElement(case, "system-out").text = told
