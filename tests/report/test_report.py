import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from report_factory import cells, many, probe_context, probe_entries, render, unfinished

from bench import report
from bench.errors import BenchError
from bench.report import Report, ReportOptions, published
from bench.report.build import table
from bench.report.model import Entry, PublishedValue, TableContext

GOLDEN = Path(__file__).parent / "golden"
NASTY = 'a|b <i>&amp; *x* _y_ `z` $w$ \\cmd{v} #1 100% ^~ [u](v) "q" --f\n\x1b[31m λ 中'


def made(*tables):
    return Report("suite", tables=tables)


def probe():
    return table(probe_entries(), probe_context())


def nasty():
    about = TableContext(NASTY, NASTY)
    entries = [
        Entry("p", NASTY, "[s]", "kd", 0, unfinished("r", 0, "failed", NASTY), NASTY, NASTY),
        *(Entry("q", "*t*", "s", m, 0, None, f"[{m}]") for m in ("kd", "at")),
    ]
    return table(entries, about)


def wide(columns):
    return table(
        [Entry(f"p{n}", "t", f"s{n}", "kd", 0, None) for n in range(columns)], TableContext("W")
    )


def golden(name):
    """The tables of the probe, then statistics with every verdict."""
    tables = made(probe())
    if name == "json":
        return report.render(tables, name)
    every = made(probe(), table(many(), TableContext("Many")))
    statistics = report.render(every, name, "statistics", label="statistics")
    return "\n".join([report.render(tables, name, label="probe"), statistics])


@pytest.mark.parametrize("name", report.FORMATS)
def test_golden(name):
    """Read by eye; a difference must be intended: then write the new text over the file."""
    assert golden(name) == (GOLDEN / f"report.{name}").read_text("utf-8")


def test_the_same_records_give_the_same_bytes_and_only_the_three_files(tmp_path):
    first = report.write(made(probe(), nasty()), tmp_path / "a", "x")
    second = report.write(made(probe(), nasty()), tmp_path / "b", "x")
    assert [path.name for path in first] == ["x.md", "x.tex", "x.csv"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["x.csv", "x.md", "x.tex"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_markdown_rows_have_equal_cells_for_any_names():
    lines = [one for one in render(nasty(), "md").splitlines() if one.startswith("| ")]
    bare = [re.sub(r"\\.", "", one) for one in lines]
    assert {one.count("|") for one in bare} == {4}
    assert {len(one) for one in lines} == {len(lines[0])}


def test_markdown_lets_no_markup_through():
    found = render(nasty(), "md")
    ours = re.sub(r"</?(sup|u)>|<br>", "", found)
    assert "<" not in ours
    assert "\x1b" not in found
    assert r"\*x\* \_y\_ \`z\` \$w\$ \\cmd\{v\}" in found
    assert r"\[u\](v)" in found
    assert "&amp;amp;" in found


def test_latex_escapes_every_special_character():
    found = render(nasty(), "tex")
    assert r"\textbackslash{}cmd\{v\}" in found
    assert r"\#1 100\% \textasciicircum{}\textasciitilde{}" in found
    assert r"-{}-f" in found
    assert r"$\lambda$ {[}U+4E2D{]}" in found
    assert found.isascii()


@pytest.mark.parametrize("make", [probe, nasty, lambda: wide(13)])
def test_latex_is_balanced_and_every_row_has_every_column(make):
    table_ = make()
    found = render(table_, "tex", label="some label")
    bare = re.sub(r"\\[\\{}&%]", "", found)
    depth = 0
    for char in bare:
        depth += {"{": 1, "}": -1}.get(char, 0)
        assert depth >= 0
    assert depth == 0
    begun, ended = re.findall(r"\\begin{(\w+)}", found), re.findall(r"\\end{(\w+)}", found)
    assert sorted(begun) == sorted(ended)
    body = found[found.index(r"\toprule") : found.index(r"\bottomrule")].splitlines()
    rows = [one for one in body if not re.fullmatch(r"\\\w+", one)]
    assert len(rows) == 2 + len(table_.rows)
    for one in rows:
        assert one.endswith(r" \\")
        assert re.sub(r"\\&", "", one).count("&") == len(table_.columns)
        assert not one.startswith(("[", "*"))


def test_latex_fits_a_wide_table_to_the_page():
    assert r"\resizebox{\linewidth}" in render(wide(7), "tex")
    assert r"\resizebox" not in render(wide(3), "tex")


def test_latex_has_published_values_in_a_line_below():
    quotes = {("wrn_40_2/wrn_16_2", "kd"): PublishedValue(74.92, 0.28, "CRD, Table 1")}
    lines = render(table(probe_entries(), probe_context(), "top1", quotes), "tex").splitlines()
    place = next(at for at, one in enumerate(lines) if one.startswith("KD & "))
    assert lines[place + 1] == r" & {\scriptsize[74.92; $-$0.02]} &  \\[2pt]"
    assert lines[place + 2].startswith("AT & ")


def has_booktabs():
    if not shutil.which("pdflatex") or not shutil.which("kpsewhich"):
        return False
    return not subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode


def run_latex(folder):
    subprocess.run(
        ["pdflatex", "-draftmode", "-halt-on-error", "t.tex"],
        cwd=folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.mark.skipif(not has_booktabs(), reason="needs pdflatex with booktabs")
def test_latex_compiles(tmp_path):
    tables = made(probe(), nasty(), wide(13), *published.tables())
    report.write(tables, tmp_path, "t", ReportOptions(formats=["tex"], standalone=True))
    run_latex(tmp_path)


def test_csv_has_a_line_for_each_pair_and_method_of_each_table():
    tables = made(probe(), table(probe_entries(), probe_context(), "oracle"))
    lines = list(csv.DictReader(io.StringIO(report.render(tables, "csv"))))
    assert len(lines) == 2 * 7 * 2
    found = {(one["metric"], one["method"], one["pair"]): one for one in lines}
    crd = found["top1", "crd", "wrn_40_2/wrn_16_2"]
    assert [float(one) for one in crd["values"].split(";")] == [75.0, 75.5, 75.1]
    assert float(crd["mean"]) == pytest.approx(75.2)
    assert float(crd["std"]) == pytest.approx(0.2645751311)
    assert (crd["n"], crd["seeds"], crd["status"], crd["rank"]) == ("3", "0;1;2", "done", "best")
    hole = found["top1", "dcd", "resnet32x4/shufflenet_v2"]
    assert (hole["n"], hole["mean"], hole["status"]) == ("0", "", "missing")
    assert float(found["oracle", "kd", "wrn_40_2/wrn_16_2"]["mean"]) == pytest.approx(75.4)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1"])
def test_csv_holds_no_formula(name):
    table_ = table([Entry(name, name, name, name, 0, None, name, name)], TableContext(name))
    header, line = csv.reader(io.StringIO(render(table_, "csv")))
    texts = dict(zip(header, line, strict=True))
    for field in ("table", "pair", "teacher", "student", "method", "label", "note"):
        assert texts[field] == "'" + name.strip()


def test_text_columns_are_aligned_and_a_narrow_screen_gets_blocks():
    tables = made(table([*cells("kd", [70.0, 71.0], [72.0, 73.0])], TableContext("T")))
    lines = report.render(tables, "txt").splitlines()
    name, values = (next(one for one in lines if one.startswith(row)) for row in ("Student", "kd"))
    assert name.index("ShuffleNetV2") == 7 + 2 + len(" 70.50 ± 0.71 ") + 2 + 1
    assert values.index("72.50") == name.index("ShuffleNetV2")
    narrow = report.show(tables, width=30, terminal=False)
    assert sum(one.startswith("kd") for one in narrow.splitlines()) == 2
    assert max(map(len, narrow.splitlines())) <= 30


def test_a_terminal_gets_bold_and_underline_at_the_same_places():
    plain = render(probe(), "txt")
    colourful = report.show(made(probe()), width=None, terminal=True)
    assert "\x1b" not in plain
    assert colourful.count("\x1b[1m") == 3 + 1  # three best cells and the legend
    bare = re.sub(r"\x1b\[\dm", "", colourful).splitlines()
    starts = {one.index("±") for one in bare if re.match(r"(KD|AT|CRD|WCoRD)", one)}
    assert len(starts) == 1


def test_kl_has_four_digits_and_nll_three():
    def shown(metric):
        entries = cells("kd", [0.123456, 0.123456], metric=metric)
        return render(replace(table(entries, TableContext("T"), metric), caption=""), "txt")

    assert "0.1235 ± 0.0000" in shown("kl")
    assert "0.123 ± 0.000" in shown("nll")


def test_only_known_formats_are_written(tmp_path):
    with pytest.raises(BenchError, match=r"no format 'htm'"):
        report.write(made(probe()), tmp_path, "x", ReportOptions(formats=["md", "htm"]))
    html = ReportOptions(formats=["html"])
    with pytest.raises(BenchError, match=r"no format 'html'"):
        report.write(made(probe()), tmp_path, "x", html)
    assert list(tmp_path.iterdir()) == []
    [path] = report.write(made(probe()), tmp_path, "x", html, page=lambda: "<p>ö")
    assert (path.name, path.read_text("utf-8")) == ("x.html", "<p>ö")


def test_formats_are_known_before_anything_is_written():
    assert report.check_formats(["md", "html", "md"]) == ("md", "html")
    with pytest.raises(BenchError, match=r"no format 'mdd'\. Did you mean 'md'\?"):
        report.check_formats(["csv", "mdd"])
    with pytest.raises(BenchError, match=r"no format 'html'"):
        report.check_formats(["html"], page=False)


def test_json_holds_every_cell_with_the_runs_behind_it():
    content = json.loads(report.render(Report.of("s", [probe()], probe_entries()), "json"))
    [probe_] = content["tables"]
    row = next(one for one in probe_["rows"] if one["name"] == "crd")
    assert row["cells"][0]["measured"]["values"] == {"0": 75.0, "1": 75.5, "2": 75.1}
    assert row["cells"][0]["metrics"]["oracle"]["values"] == {"0": 75.5, "1": 76.0, "2": 75.6}
    assert row["cells"][0]["terms"] == {"ce": {"weight": 1.0, "options": {}}}
    assert row["cells"][0]["teachers"] == ["7e" * 32]
    assert content["environment"]["torch"] == "2.15.0"
    assert (row["cells"][0]["rank"], row["cells"][0]["versus"]) == ("best", "better")
    assert row["cells"][0]["runs"] == [f"wrn_40_2/wrn_16_2crd{seed}" for seed in range(3)]
    assert [one["mark"] for one in probe_["notes"]] == ["†", "‡", "a", "b", "c", "d"]
