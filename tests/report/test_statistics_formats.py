"""Statistics as they are printed, written and read by machines."""

import csv
import io
import json
import re

import pytest
from report_factory import PAIRS, cells, many, near, probe_context, probe_entries, render
from test_report import NASTY, has_packages, nasty, run_latex

from bench import report
from bench.errors import BenchError
from bench.report import Report, ReportOptions
from bench.report.build import table
from bench.report.document import statistics_document
from bench.report.model import TableContext

ABOUT = TableContext("Many")


def both():
    tables = table(probe_entries(), probe_context()), table(many(), ABOUT)
    return Report("suite", tables=tables)


def documents():
    return [statistics_document(each) for each in both().tables]


def plain(text):
    return "".join(span.text for span in text if span.style != "mark")


def grid(result, place=0):
    return {
        row.method: [plain(cell.text) for cell in row.cells] for row in result.sections[place].rows
    }


def caption(result):
    return plain(result.caption)


def test_html_statistics_have_no_file_of_their_own(tmp_path):
    options = ReportOptions(formats=["html"])
    assert report.write(both(), tmp_path, "x", options, "statistics") == []
    options = ReportOptions(formats=["md", "htm"])
    with pytest.raises(BenchError, match=r"no format 'htm'\. Did you mean 'html'\?"):
        report.write(both(), tmp_path, "x", options, "statistics")
    assert list(tmp_path.iterdir()) == []


def test_line_has_mean_interval_difference_p_and_verdict():
    result = grid(documents()[1])
    # t(0.975, 2) = 4.302653; 4.302653 * 0.02 / √3 = 0.0497
    assert result["kd"][1:] == ["3", "75.00 ± 0.02", "[74.95, 75.05]", "", "", "reference"]
    assert result["up"][4].startswith("+2.00 [+1.")
    assert result["ce"][-1] == "worse"
    assert result["same"][-1] == "same"
    assert re.fullmatch(r"inconclusive \(about \d+ seeds\)", result["wild"][-1])


def test_more_than_100_seeds_needed_is_reported():
    wild = [*cells("kd", near(75.0)), *cells("at", near(75.001, (0.9, -0.9, 0.0)))]
    result = statistics_document(table(wild, TableContext("T", tolerance=0.0)))
    assert grid(result)["at"][-1] == "inconclusive (more than 100 seeds)"
    assert "With a tolerance of 0, no verdict is `same`" in caption(result)
    level = [*cells("kd", [75.0, 76.0, 77.0]), *cells("at", [76.0, 77.0, 75.0])]
    [_, result] = grid(statistics_document(table(level, TableContext("T", tolerance=0.0)))).values()
    assert result[-1] == "inconclusive"


def test_missing_values_have_their_reason_and_are_not_averaged():
    result = documents()[0]
    assert grid(result)["dcd"][1:] == ["0", "failed", "", "", "", "not tested: values missing"]
    assert grid(result, 1)["wcord"][1:3] == ["2", "76.20 ± 0.28"]
    marks = {note.mark: note.text for note in result.notes if note.mark}
    assert marks["b"] == "seed 2 diverged at epoch 12"
    assert marks["‡"] == "reconstruction"
    assert (
        "Excluded, as values or seeds are missing: AT, WCoRD and DCD." in result.sections[-1].text
    )


def test_caption_counts_the_comparisons_and_notes_list_the_assumptions():
    result = documents()[1]
    assert "moderated t-tests over seeds, Holm-corrected over 10 comparisons" in caption(result)
    assert "a difference of more than 0.5 points" in caption(result)
    message = " ".join(note.text for note in result.notes)
    for word in ("normally", "Seeds pair the runs", "teacher", "80 %", "for other metrics"):
        assert word in message


def test_nothing_is_compared_without_a_reference():
    result = statistics_document(table(cells("at", near(74.0)), ABOUT))
    assert [plain(c.text) for c in result.sections[0].header[0]] == [
        "Method",
        "n",
        "Mean ± std",
        "95 % interval",
    ]
    assert [len(row.cells) for row in result.sections[0].rows] == [4]
    assert "nothing is compared" in caption(result)
    assert result.sections[-1].rows == ()
    single = statistics_document(table([*cells("kd", [1.0]), *cells("at", [2.0])], ABOUT))
    assert "No cell could be compared with kd." in caption(single)


def test_csv_lines_are_cells_methods_and_the_table():
    text = io.StringIO(report.render(both(), "csv", "statistics"))
    lines = [item for item in csv.DictReader(text) if item["table"] == "Many"]
    assert [item["scope"] for item in lines] == ["cell"] * 12 + ["method"] * 5 + ["table"]
    up = next(
        item for item in lines if item["method"] == "up" and item["pair"] == next(iter(PAIRS))
    )
    assert float(up["difference"]) == pytest.approx(2.0)
    assert float(up["difference_low"]) < 2 < float(up["difference_high"])
    assert (up["verdict"], up["paired"], up["seeds_needed"]) == ("better", "yes", "")
    assert (up["reference"], float(up["tolerance"])) == ("kd", 0.5)
    over = {item["method"]: item for item in lines if item["scope"] == "method"}
    assert float(over["up"]["average_rank"]) == 1.0
    assert float(over["up"]["relative_improvement"]) == pytest.approx((2 / 2 + 2.51 / 2) / 2)
    assert over["kd"]["relative_improvement"] == ""
    assert float(lines[-1]["friedman"]) > 0
    assert lines[-1]["pairs"] == "2"


def test_json_of_statistics_is_that_of_the_tables():
    text = report.render(both(), "json", "statistics")
    assert text == report.render(both(), "json")
    [probe, full] = json.loads(text)["tables"]
    assert (full["title"], full["metric"]["name"], full["reference"]) == ("Many", "top1", "kd")
    wild = next(item for item in full["rows"] if item["name"] == "wild")["cells"][0]["comparison"]
    assert wild["verdict"] == "inconclusive"
    assert wild["seeds"] > 3
    assert wild["paired"] is True
    assert full["overall"]["ranks"]["average"][1] == 1.0
    failed = next(item for item in probe["rows"] if item["name"] == "dcd")["cells"][0]
    assert failed["missing"]["reason"] == "failed: OutOfMemoryError: 8 GiB"
    assert failed["measured"] is None


def test_a_narrow_screen_gets_blocks():
    result = documents()[1]
    lines = report.text(result, width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(item.startswith("Wild") for item in lines) > 3


def test_no_format_lets_markup_through():
    markdown = render(nasty(), "md", "statistics")
    assert "<i>" not in markdown
    assert "&lt;i&gt;" in markdown
    assert "\x1b" not in markdown + render(nasty(), "txt", "statistics")
    latex = render(nasty(), "tex", "statistics", label="x")
    assert r"\textbackslash{}cmd\{v\}" in latex
    assert latex.isascii()
    lines = csv.DictReader(io.StringIO(render(nasty(), "csv", "statistics")))
    assert {" ".join(NASTY.replace("\x1b", " ").split())} == {item["table"] for item in lines}


@pytest.mark.skipif(not has_packages(), reason="needs pdflatex with booktabs and siunitx")
def test_latex_compiles(tmp_path):
    built = Report("suite", tables=(*both().tables, nasty()))
    options = ReportOptions(formats=["tex"], standalone=True)
    report.write(built, tmp_path, "t", options, "statistics")
    run_latex(tmp_path)


def test_latex_is_balanced():
    built = Report("suite", tables=(*both().tables, nasty()))
    options = ReportOptions(standalone=True)
    latex = report.render(built, "tex", "statistics", label="x", options=options)
    bare = re.sub(r"\\[\\{}&%]", "", latex)
    assert bare.count("{") == bare.count("}")
    begun, ended = re.findall(r"\\begin{(\w+)}", latex), re.findall(r"\\end{(\w+)}", latex)
    assert sorted(begun) == sorted(ended)
    labels = re.findall(r"\\label{(.*)}", latex)
    assert len(labels) == len(set(labels)) == 8
