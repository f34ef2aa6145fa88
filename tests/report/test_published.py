"""The published tables are what the transcribed files say, cell by cell."""

import csv
import re
from pathlib import Path

import pytest
from report_factory import cells, render

from bench.report import published
from bench.report.build import table
from bench.report.model import Entry, TableContext
from bench.spec import DataSpec

FOLDER = Path(__file__).parents[2] / "results" / "published"
NETWORKS = {
    "WRN-40-2": "wrn_40_2", "WRN-40-1": "wrn_40_1", "WRN-16-2": "wrn_16_2", "ResNet50": "resnet50",
    "MobileNetV2": "mobilenet_v2", "ShuffleNetV1": "shufflenet_v1", "ShuffleNetV2": "shufflenet_v2",
}  # fmt: skip
CIFAR = DataSpec(name="cifar100", per_class=None, test_per_class=None, validation=0)


def raw(name):
    """The lines of a file, read without the code under test."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def expected():
    """(table, pair, method) -> value and std as strings, of all that the two tables show."""
    result = {}
    for name in ("crd", "wcord", "dcd"):
        for each in raw(name):
            table_ = each["table"]
            later = table_.startswith("main ") or table_ == "README 2025-02-11 (named DCD)"
            if table_ not in ("Table 1", "Table 2") and not later:
                continue
            if each["paper"].startswith("RRD"):
                continue
            networks = [NETWORKS.get(each[key], each[key]) for key in ("teacher", "student")]
            pair = "/".join(networks)
            method = each["method"].split(" (")[0].lower()
            if each["value"]:
                result[pair, method] = (float(each["value"]), each["std"] and float(each["std"]))
    return result


def test_the_thirteen_pairs_equal_the_files_cell_by_cell():
    built = published.tables()
    assert [len(each.columns) for each in built] == [7, 6]
    shown = {}
    for each in built:
        for row in each.rows:
            for column, cell in zip(each.columns, row.cells, strict=True):
                if cell.shown:
                    shown[column.pair, row.name] = (cell.shown.mean, cell.shown.std or "")
    assert shown == expected()
    assert len(shown) == 7 * 19 - 1 + 6 * 18  # FSP has no number for WRN-40-1


def test_printed_numbers_are_those_of_the_files():
    for each in published.tables():
        printed = [line for line in render(each, "md").splitlines() if line.startswith("| ")][2:]
        for row, line in zip(each.rows, printed, strict=True):
            _, *result = (
                re.sub(r"\*\*|</?u>| [↑↓]", "", part).strip() for part in line.split("|")[1:-1]
            )
            for column, cell in zip(each.columns, result, strict=True):
                value, std = expected().get((column.pair, row.name), ("", ""))
                spread = f" ± {std:.2f}" if std else ""
                assert cell == (f"{value:.2f}{spread}" if value else "")


def test_an_empty_cell_stays_empty():
    fsp = next(row for row in published.tables()[0].rows if row.name == "fsp")
    assert [cell.status for cell in fsp.cells].count("empty") == 1
    assert fsp.cells[1].shown is None
    assert fsp.cells[1].rank is None


def test_the_rows_that_were_not_found_are_not_rows():
    for each in published.tables():
        names = [row.name for row in each.rows]
        assert names[-3:] == ["wcord+kd", "dcd", "dcd+kd"]
        assert not {"wcord", "lckt", "gckt", "rrd"} & set(names)


def test_a_suite_gets_its_own_pairs():
    built = published.tables(["vgg13/vgg8", "resnet50/vgg8", "a/b"])
    assert [[column.pair for column in each.columns] for each in built] == [
        ["vgg13/vgg8"],
        ["resnet50/vgg8"],
    ]
    assert published.tables(["a/b"]) == []


def test_quotes_prefer_the_main_tables_and_map_every_name():
    quotes = published.published_values(CIFAR)
    result = {key: (each.mean, each.std) for key, each in quotes.items()}
    for key, (value, std) in expected().items():
        assert result[key] == (value, std or None)
    assert quotes["wrn_40_2/wrn_16_2", "wcord+kd"].mean == 76.11
    assert ("wrn_40_2/wrn_16_2", "wcord") not in quotes
    assert quotes["wrn_40_2/wrn_16_2", "kd"].source == "CRD, Table 1"


@pytest.mark.parametrize(
    "change",
    [{"name": "cifar10"}, {"per_class": 50}, {"test_per_class": 9}, {"validation": 9}],
)
def test_another_data_set_or_a_subset_has_no_published_value(change):
    assert published.published_values(CIFAR.model_copy(update=change)) == {}


def test_teacher_and_student_are_matched_by_their_role():
    entries = [*cells("t", [75.6], role="teacher"), *cells("plain", [73.0], role="student")]
    result = table(
        entries, TableContext("T", data=CIFAR), "top1", published.published_values(CIFAR)
    )
    assert [row.cells[0].published.mean for row in result.rows] == [75.61, 73.26]


def test_a_doubtful_number_has_a_footnote():
    entries = [*cells("ab+kd", [73.0]), *cells("at+kd", [72.0])]
    result = table(
        entries, TableContext("T", data=CIFAR), "top1", published.published_values(CIFAR)
    )
    message = render(result, "md")
    assert "**73.00**<br>\\[70.27; +2.73\\]<sup>a</sup>" in message
    assert "<sup>a</sup> doubtful: 70.27 is below AB alone" in message
    doubtful = [line for line in published.lines() if line.doubt and not line.is_best_epoch]
    assert {line.value for line in doubtful} == {70.27, 73.34}
    assert {line.table for line in doubtful} == {"Table 7", "Table 9 (deep mutual learning)"}


def test_a_number_of_the_best_epoch_has_a_footnote():
    values = published.published_values(CIFAR)
    assert values["vgg13/vgg8", "dkd"].doubt.startswith("of the best epoch on the test set")
    assert values["vgg13/vgg8", "ttm"].doubt == values["vgg13/vgg8", "crd"].doubt == ""


def test_a_method_s_own_table_counts_before_a_reprint():
    lines = published.published_lines(CIFAR)
    assert lines["wrn_40_2/wrn_40_1", "dist"].paper == "DIST"
    assert lines["vgg13/vgg8", "dist"].paper == "reprint (TTM README)"


def test_missing_value_still_shows_the_published_one():
    entry = Entry("vgg13/vgg8", "vgg13", "vgg8", "kd", 0, None)
    values = published.published_values(CIFAR)
    result = table([entry], TableContext("T", data=CIFAR), "top1", values)
    assert "missing<sup>a</sup><br>\\[72.98\\]" in render(result, "md")
    [cell] = result.rows[0].cells
    assert (cell.published.mean, cell.gap, cell.measured) == (72.98, None, None)
