"""What stands beside a number: arrows, published values, records; and tables beside each other."""

import csv
import io
import json

import pytest
from report_factory import PAIRS, cells, probe_about, probe_entries

from bench import report
from bench.report import published
from bench.report.markup import signed
from bench.report.table import About, Note, Quoted, table, tables

ABOUT = About("T")


def row(found, name):
    return next(one for one in found.rows if one.name == name)


def arrows(found):
    return {one.name: [cell.versus for cell in one.cells] for one in found.rows}


def test_arrows_stand_at_methods_where_both_are_whole():
    assert arrows(table(probe_entries(), probe_about())) == {
        "teacher": [None, None],
        "ce": [None, None],
        "kd": [None, None],
        "at": ["worse", None],  # the second is skipped
        "crd": ["better", "better"],
        "wcord": ["better", None],  # the second lacks a seed
        "dcd": [None, None],
    }


def test_no_arrow_without_kd_or_beside_a_kd_with_holes():
    without = table([one for one in probe_entries() if one.method != "kd"], probe_about())
    assert "↑" not in without.caption
    holes = table([*cells("kd", [70.0, None]), *cells("at", [71.0, 71.0])], ABOUT)
    for found in (without, holes):
        assert {one for found in arrows(found).values() for one in found} == {None}


def test_arrows_point_up_for_better_not_for_more():
    entries = [*cells("kd", [1.1], metric="nll"), *cells("at", [1.2], metric="nll")]
    assert arrows(table(entries, ABOUT, "nll"))["at"] == ["worse"]


def test_another_method_can_be_the_reference():
    found = table(probe_entries(), About("T", reference="crd"))
    assert arrows(found)["kd"] == ["worse", "worse"]
    assert "worse than CRD" in found.caption


def test_published_values_stand_beside_and_the_caption_names_their_source():
    quotes = {("wrn_40_2/wrn_16_2", "kd"): Quoted(74.92, 0.28, "CRD, Table 1", "smudged")}
    found = table(probe_entries(), ABOUT, "top1", quotes)
    here, elsewhere = row(found, "kd").cells
    assert here.gap == pytest.approx(74.90 - 74.92)
    assert elsewhere.published is None
    assert "the published value, and ours minus it: CRD, Table 1." in found.caption
    assert Note("e", "smudged") in found.notes or Note("a", "smudged") in found.notes
    assert row(table(probe_entries(), ABOUT, "top5", quotes), "kd").cells[0].published is None


def test_asked_for_published_values_in_vain_the_caption_says_so():
    assert "No published value has this" in table(probe_entries(), ABOUT, "top1", {}).caption
    assert "ublished" not in table(probe_entries(), ABOUT, "top1").caption


def test_pairs_of_both_styles_make_two_tables():
    both = tables(probe_entries(), ABOUT)
    assert [one.title for one in both] == [
        "T: same architecture style",
        "T: different architecture styles",
    ]
    assert [[column.pair for column in one.columns] for one in both] == [[name] for name in PAIRS]
    assert [one.title for one in tables(cells("kd", [70.0]), ABOUT)] == ["T"]


def test_a_cell_knows_its_records():
    found = row(table(probe_entries(), ABOUT), "wcord").cells[1]
    pair = "resnet32x4/shufflenet_v2"
    assert found.runs == (f"{pair}wcord0", f"{pair}wcord1", "d")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.28, "+0.28"), (-0.28, "−0.28"), (0.004, "0.00"), (-0.004, "0.00")],
)
def test_gaps_have_a_sign(value, shown):
    assert signed(value, 2) == shown


def test_an_unranked_table_explains_no_emphasis():
    made = table(cells("kd", [70.0]), About("T"))
    assert "Emphasis" not in report.markdown(made)
    assert "Emphasis" in report.markdown(table(probe_entries(), probe_about()))


def stars(found):
    return {one.name: [cell.significant for cell in one.cells] for one in found.rows}


def test_an_asterisk_stands_where_noise_is_ruled_out():
    made = table(probe_entries(), probe_about())
    assert stars(made) == {
        "teacher": [None, None],
        "ce": [True, True],
        "kd": [None, None],
        "at": [True, None],  # the second is skipped
        "crd": [False, True],
        "wcord": [False, None],  # the second lacks a seed
        "dcd": [None, None],
    }
    rows = [one for one in report.markdown(made).splitlines() if "|" in one]
    lines = {one.split("|")[1].strip(): one for one in rows}
    assert r" 74.10 ± 0.10 ↓\* " in lines["AT"]
    assert r" **75.20 ± 0.26** ↑ " in lines["CRD"]
    assert r" **75.70 ± 0.10** ↑\* " in lines["CRD"]
    assert "↑" not in lines["Student"]
    assert r"\textbf{75.70\,\textpm\,0.10} $\uparrow${*} \\" in report.latex(made)
    assert "*75.70 ± 0.10* ↑*" in report.text(made)


def test_the_caption_says_what_was_tested_and_how():
    many = table(probe_entries(), probe_about()).caption
    assert "* where noise is ruled out" in many
    assert "Holm for 6 cells tested, the plain student's among them" in many
    none = table([*cells("kd", [70.0, 71.0]), *cells("at", [70.5, 71.4])], ABOUT).caption
    assert "by mean; nowhere is noise ruled out as the cause (p < 0.05, two-sided t-tests" in none
    assert "Holm for 1 cell tested)" in none


def test_single_runs_have_arrows_without_a_verdict():
    made = table([*cells("kd", [70.0]), *cells("at", [90.0])], ABOUT)
    assert stars(made)["at"] == [None]
    assert made.caption.endswith("↑ better and ↓ worse than kd, by mean; no verdict about noise.")


def test_published_numbers_are_never_tested():
    for made in published.tables():
        assert {one for found in stars(made).values() for one in found} == {None}
        assert "by mean; no verdict about noise." in made.caption
        assert "↑*" not in report.text(made)


def test_csv_and_json_tell_p_and_whether_it_is_below_5_percent():
    made = table(probe_entries(), probe_about())
    found = {
        (one["method"], one["pair"]): one
        for one in csv.DictReader(io.StringIO(report.comma_separated([made])))
    }
    first, second = PAIRS
    assert [found["crd", pair]["significant"] for pair in PAIRS] == ["no", "yes"]
    assert 0 < float(found["crd", second]["p"]) < 0.05 < float(found["crd", first]["p"])
    assert (found["at", second]["p"], found["at", second]["significant"]) == ("", "")
    [content] = json.loads(report.as_json([made]))
    crd = next(one for one in content["rows"] if one["method"] == "crd")
    assert [one["significant"] for one in crd["cells"]] == [False, True]
    assert content["reference"] == "kd"
