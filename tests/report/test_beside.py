"""What stands beside a number: arrows, published values, records; and tables beside each other."""

import pytest
from report_factory import PAIRS, cells, probe_about, probe_entries

from bench import report
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
