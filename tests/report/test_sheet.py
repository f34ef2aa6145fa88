"""Statistics as they are printed, written and read by machines."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from report_factory import PAIRS, cells, many, near, probe_about, probe_entries
from test_report import NASTY, has_booktabs, nasty, run_latex

from bench import report
from bench.errors import BenchError
from bench.report.sheet import sheet
from bench.report.statistics import statistics
from bench.report.table import About, table

GOLDEN = Path(__file__).parent / "golden"
ABOUT = About("Many")


def both():
    return [statistics(table(probe_entries(), probe_about())), statistics(table(many(), ABOUT))]


def grid(found, place=0):
    return {row.method: [cell.text for cell in row.cells] for row in found.grids[place].rows}


@pytest.mark.parametrize("suffix", ["md", "tex", "csv", "json", "txt"])
def test_golden(tmp_path, suffix):
    """Read by eye once; a difference must be meant: then write the new output over the file."""
    [path] = report.write_statistics(both(), tmp_path, "statistics", [suffix])
    assert path.read_text("utf-8") == (GOLDEN / path.name).read_text("utf-8")


def test_a_page_has_the_statistics_and_no_file_beside_it(tmp_path):
    assert report.write_statistics(both(), tmp_path, "x", ["html"]) == []
    with pytest.raises(BenchError, match=r"no format 'htm'\. Did you mean 'html'\?"):
        report.write_statistics(both(), tmp_path, "x", ["md", "htm"])
    assert list(tmp_path.iterdir()) == []


def test_a_line_tells_mean_interval_difference_p_and_verdict():
    found = grid(sheet(both()[1]))
    # t(0.975, 2) = 4.302653; 4.302653 * 0.02 / √3 = 0.0497
    assert found["kd"][1:] == ["3", "75.00 ± 0.02", "[74.95, 75.05]", "", "", "reference"]
    assert found["up"][4].startswith("+2.00 [+1.")
    assert found["ce"][-1] == "worse"
    assert found["same"][-1] == "same"
    assert re.fullmatch(r"inconclusive \(about \d+ seeds\)", found["wild"][-1])


def test_what_more_than_100_seeds_would_settle_says_so():
    wild = [*cells("kd", near(75.0)), *cells("at", near(75.001, (0.9, -0.9, 0.0)))]
    found = sheet(statistics(table(wild, About("T", tolerance=0.0))))
    assert grid(found)["at"][-1] == "inconclusive (more than 100 seeds)"
    assert "Nothing is called the same without a tolerance" in found.caption
    level = [*cells("kd", [75.0, 76.0, 77.0]), *cells("at", [76.0, 77.0, 75.0])]
    [_, found] = grid(sheet(statistics(table(level, About("T", tolerance=0.0))))).values()
    assert found[-1] == "inconclusive"


def test_holes_stand_with_their_reason_and_are_not_averaged():
    found = sheet(both()[0])
    assert grid(found)["dcd"][1:] == ["0", "failed", "", "", "", "not tested: lacks values"]
    assert grid(found, 1)["wcord"][1:3] == ["2", "76.20 ± 0.28"]
    marks = {note.mark: note.text for note in found.notes if note.mark}
    assert marks["b"] == "seed 2 diverged at epoch 12"
    assert marks["‡"] == "reconstruction"
    assert "Left out, as they lack values or seeds: AT, WCoRD and DCD." in found.grids[-1].text


def test_the_caption_counts_the_cells_and_the_notes_say_what_is_assumed():
    found = sheet(both()[1])
    assert "within seeds, corrected by Holm for 10 cells" in found.caption
    assert "a difference of more than 0.5 points" in found.caption
    said = " ".join(note.text for note in found.notes)
    for word in ("normally", "seeds pair them", "teacher", "80 %", "not across metrics"):
        assert word in said


def test_without_a_reference_there_is_nothing_beside_it():
    found = sheet(statistics(table(cells("at", near(74.0)), ABOUT)))
    assert found.grids[0].header == ("Method", "n", "Mean ± std", "95 % interval")
    assert [len(row.cells) for row in found.grids[0].rows] == [4]
    assert "nothing is compared" in found.caption
    assert found.grids[-1].rows == ()
    single = sheet(statistics(table([*cells("kd", [1.0]), *cells("at", [2.0])], ABOUT)))
    assert "No cell could be tested beside kd." in single.caption


def test_csv_lines_are_cells_methods_and_the_table():
    [path] = [io.StringIO(report.STATISTICS["csv"](both(), "x", False))]
    lines = [one for one in csv.DictReader(path) if one["table"] == "Many"]
    assert [one["scope"] for one in lines] == ["cell"] * 12 + ["method"] * 5 + ["table"]
    up = next(one for one in lines if one["method"] == "up" and one["pair"] == next(iter(PAIRS)))
    assert float(up["difference"]) == pytest.approx(2.0)
    assert float(up["difference_low"]) < 2 < float(up["difference_high"])
    assert (up["verdict"], up["paired"], up["seeds_needed"]) == ("better", "yes", "")
    assert (up["reference"], float(up["tolerance"])) == ("kd", 0.5)
    over = {one["method"]: one for one in lines if one["scope"] == "method"}
    assert float(over["up"]["average_rank"]) == 1.0
    assert float(over["up"]["relative_improvement"]) == pytest.approx((2 / 2 + 2.51 / 2) / 2)
    assert over["kd"]["relative_improvement"] == ""
    assert float(lines[-1]["friedman"]) > 0
    assert lines[-1]["pairs"] == "2"


def test_json_holds_the_same_lines_and_the_words():
    [probe, full] = json.loads(report.STATISTICS["json"](both(), "x", False))
    assert (full["table"], full["metric"], full["reference"]) == ("Many", "top1", "kd")
    wild = next(one for one in full["lines"] if one["method"] == "wild")
    assert wild["verdict"] == "inconclusive"
    assert wild["seeds_needed"] > 3
    assert wild["paired"] is True
    assert "Holm for 10 cells" in full["caption"]
    failed = next(one for one in probe["lines"] if one["method"] == "dcd")
    assert failed["reason"] == "failed: OutOfMemoryError: 8 GiB; not tested: lacks values"
    assert "mean" not in failed


def test_a_narrow_screen_gets_blocks():
    found = sheet(both()[1])
    lines = report.text_sheet(found, width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(one.startswith("Wild") for one in lines) > 3


def test_no_format_lets_markup_through():
    found = sheet(statistics(nasty()))
    markdown = report.STATISTICS["md"]([statistics(nasty())], "x", False)
    assert "<i>" not in markdown
    assert "&lt;i&gt;" in markdown
    assert "\x1b" not in markdown + report.text_sheet(found)
    latex = report.STATISTICS["tex"]([statistics(nasty())], "x", False)
    assert r"\textbackslash{}cmd\{v\}" in latex
    assert latex.isascii()
    lines = csv.DictReader(io.StringIO(report.STATISTICS["csv"]([statistics(nasty())], "x", False)))
    assert {" ".join(NASTY.replace("\x1b", " ").split())} == {one["table"] for one in lines}


@pytest.mark.skipif(not has_booktabs(), reason="needs pdflatex with booktabs")
def test_latex_compiles(tmp_path):
    made = [*both(), statistics(nasty())]
    report.write_statistics(made, tmp_path, "t", ["tex"], standalone=True)
    run_latex(tmp_path)


def test_latex_is_balanced():
    latex = report.STATISTICS["tex"]([*both(), statistics(nasty())], "x", True)
    bare = re.sub(r"\\[\\{}&%]", "", latex)
    assert bare.count("{") == bare.count("}")
    begun, ended = re.findall(r"\\begin{(\w+)}", latex), re.findall(r"\\end{(\w+)}", latex)
    assert sorted(begun) == sorted(ended)
    labels = re.findall(r"\\label{(.*)}", latex)
    assert len(labels) == len(set(labels)) == 8
