"""Comparisons in tables: arrows, published values, significance, and a table for each group."""

import csv
import io
import json
from dataclasses import replace

import pytest
from report_factory import PAIRS, cells, probe_context, probe_entries, render, row

from bench.report import build, published
from bench.report.build import table, tables
from bench.report.labels import signed
from bench.report.model import Note, PublishedValue, TableContext

ABOUT = TableContext("T")


def arrows(result):
    return {each.name: [cell.versus for cell in each.cells] for each in result.rows}


def test_arrows_need_complete_cells_on_both_sides():
    assert arrows(table(probe_entries(), probe_context())) == {
        "teacher": [None, None],
        "ce": [None, None],
        "kd": [None, None],
        "at": ["worse", None],  # the second is skipped
        "crd": ["better", "better"],
        "wcord": ["better", None],  # the second lacks a seed
        "dcd": [None, None],
    }


def test_no_arrows_without_kd_or_with_missing_seeds_of_kd():
    without = table([each for each in probe_entries() if each.method != "kd"], probe_context())
    assert "↑" not in str(without.caption)
    holes = table([*cells("kd", [70.0, None]), *cells("at", [71.0, 71.0])], ABOUT)
    for result in (without, holes):
        assert {each for result in arrows(result).values() for each in result} == {None}


def test_arrows_point_up_for_better_not_for_more():
    entries = [*cells("kd", [1.1], metric="nll"), *cells("at", [1.2], metric="nll")]
    assert arrows(table(entries, ABOUT, "nll"))["at"] == ["worse"]


def test_another_method_can_be_the_reference():
    result = table(probe_entries(), TableContext("T", reference="crd"))
    assert arrows(result)["kd"] == ["worse", "worse"]
    assert "worse than CRD" in str(result.caption)


def test_published_values_are_shown_and_the_caption_names_their_source():
    quotes = {("wrn_40_2/wrn_16_2", "kd"): PublishedValue(74.92, 0.28, "CRD, Table 1", "smudged")}
    result = table(probe_entries(), ABOUT, "top1", quotes)
    here, elsewhere = row(result, "kd").cells
    assert here.gap == pytest.approx(74.90 - 74.92)
    assert elsewhere.published is None
    assert "our value minus the published value: CRD, Table 1." in str(result.caption)
    assert Note("e", "smudged") in result.notes or Note("a", "smudged") in result.notes
    other = build.published_values(ABOUT, "top5")
    assert row(table(probe_entries(), ABOUT, "top5", other), "kd").cells[0].published is None


def test_caption_states_that_no_value_was_published():
    assert "No published value for this" in str(table(probe_entries(), ABOUT, "top1", {}).caption)
    assert "ublished" not in str(table(probe_entries(), ABOUT, "top1").caption)


def test_each_group_of_pairs_has_a_table():
    first = next(iter(PAIRS))
    groups = {True: "same architecture style", False: "different architecture styles"}
    both = tables([replace(e, group=groups[e.pair == first]) for e in probe_entries()], ABOUT)
    assert [each.title for each in both] == [f"T: {group}" for group in groups.values()]
    assert [[column.pair for column in each.columns] for each in both] == [[name] for name in PAIRS]
    assert [each.title for each in tables(probe_entries(), ABOUT)] == ["T"]


def test_a_cell_knows_its_records():
    result = row(table(probe_entries(), ABOUT), "wcord").cells[1]
    pair = "resnet32x4/shufflenet_v2"
    assert result.runs == (f"{pair}wcord0", f"{pair}wcord1", "d")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.28, "+0.28"), (-0.28, "−0.28"), (0.004, "0.00"), (-0.004, "0.00")],
)
def test_gaps_have_a_sign(value, shown):
    assert signed(value, 2) == shown


def test_an_unranked_table_explains_no_emphasis():
    built = table(cells("kd", [70.0]), TableContext("T"))
    assert "Emphasis" not in render(built, "md")
    assert "Emphasis" in render(table(probe_entries(), probe_context()), "md")


def stars(result):
    return {each.name: [cell.significant for cell in each.cells] for each in result.rows}


def test_asterisk_marks_significant_differences():
    built = table(probe_entries(), probe_context())
    assert stars(built) == {
        "teacher": [None, None],
        "ce": [True, True],
        "kd": [None, None],
        "at": [True, None],  # the second is skipped
        "crd": [False, True],
        "wcord": [False, None],  # the second lacks a seed
        "dcd": [None, None],
    }
    rows = [each for each in render(built, "md").splitlines() if "|" in each]
    lines = {each.split("|")[1].strip(): each for each in rows}
    assert r" 74.10 ± 0.10 ↓\* " in lines["AT"]
    assert r" **75.20 ± 0.26** ↑ " in lines["CRD"]
    assert r" **75.70 ± 0.10** ↑\* " in lines["CRD"]
    assert "↑" not in lines["Student"]
    assert r"\textbf{75.70\,\textpm\,0.10}\rlap{ $\uparrow${*}}" in render(built, "tex")
    assert "*75.70 ± 0.10* ↑*" in render(built, "txt")


def test_caption_states_what_was_tested_and_how():
    many = str(table(probe_entries(), probe_context()).caption)
    assert "* significant difference from KD" in many
    assert "Holm-corrected over 6 comparisons, p < 0.05" in many
    none = str(table([*cells("kd", [70.0, 71.0]), *cells("at", [70.5, 71.4])], ABOUT).caption)
    assert "by mean; no difference from kd is significant (moderated t-tests over seeds" in none
    assert "Holm-corrected over 1 comparison, p < 0.05)" in none


def test_single_runs_have_arrows_without_a_verdict():
    built = table([*cells("kd", [70.0]), *cells("at", [90.0])], ABOUT)
    assert stars(built)["at"] == [None]
    assert str(built.caption).endswith(
        "↑ better and ↓ worse than kd, by mean; significance not tested (one seed)."
    )


def test_published_numbers_are_never_tested():
    for built in published.tables():
        assert {each for result in stars(built).values() for each in result} == {None}
        assert "by mean; significance not tested (published values)." in str(built.caption)
        assert "↑*" not in render(built, "txt")


def test_csv_and_json_have_p_and_its_significance():
    built = table(probe_entries(), probe_context())
    result = {
        (each["method"], each["pair"]): each
        for each in csv.DictReader(io.StringIO(render(built, "csv")))
    }
    first, second = PAIRS
    assert [result["crd", pair]["significant"] for pair in PAIRS] == ["no", "yes"]
    assert 0 < float(result["crd", second]["p"]) < 0.05 < float(result["crd", first]["p"])
    assert (result["at", second]["p"], result["at", second]["significant"]) == ("", "")
    [content] = json.loads(render(built, "json"))["tables"]
    crd = next(each for each in content["rows"] if each["name"] == "crd")
    assert [each["comparison"]["p"] < 0.05 for each in crd["cells"]] == [False, True]
    assert content["reference"] == "kd"
