import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from report_factory import cells, many, probe_context, probe_entries, record, render, unfinished

from bench import report
from bench.errors import BenchError
from bench.report import Report, ReportOptions, published
from bench.report.build import table
from bench.report.labels import Caption
from bench.report.model import Entry, PublishedValue, TableContext
from tests.golden_text import with_golden_digits

GOLDEN = Path(__file__).parent / "golden"
NASTY = 'a|b <i>&amp; *x* _y_ `z` $w$ \\cmd{v} #1 100% ^~ [u](v) "q" --f\n\x1b[31m λ 中'


def built(*tables):
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
    tables = built(probe())
    if name == "json":
        return report.render(tables, name)
    every = built(probe(), table(many(), TableContext("Many")))
    statistics = report.render(every, name, "statistics", label="statistics")
    return "\n".join([report.render(tables, name, label="probe"), statistics])


@pytest.mark.parametrize("name", report.FORMATS)
def test_golden(name):
    """Read by eye; a difference must be intended: then write the new text over the file."""
    expected = (GOLDEN / f"report.{name}").read_text("utf-8")
    assert with_golden_digits(golden(name), expected) == expected


def test_the_same_records_give_the_same_bytes_and_only_the_three_files(tmp_path):
    first = report.write(built(probe(), nasty()), tmp_path / "a", "x")
    second = report.write(built(probe(), nasty()), tmp_path / "b", "x")
    assert [path.name for path in first] == ["x.md", "x.tex", "x.csv"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["x.csv", "x.md", "x.tex"]
    for each, other in zip(first, second, strict=True):
        assert each.read_bytes() == other.read_bytes()


def test_markdown_rows_have_equal_cells_for_any_names():
    lines = [each for each in render(nasty(), "md").splitlines() if each.startswith("| ")]
    bare = [re.sub(r"\\.", "", each) for each in lines]
    assert {each.count("|") for each in bare} == {4}
    assert {len(each) for each in lines} == {len(lines[0])}


def test_markdown_lets_no_markup_through():
    result = render(nasty(), "md")
    ours = re.sub(r"</?(sup|u)>|<br>", "", result)
    assert "<" not in ours
    assert "\x1b" not in result
    assert r"\*x\* \_y\_ \`z\` \$w\$ \\cmd\{v\}" in result
    assert r"\[u\](v)" in result
    assert "&amp;amp;" in result


def test_latex_escapes_every_special_character():
    result = render(nasty(), "tex")
    assert r"\textbackslash{}cmd\{v\}" in result
    assert r"\#1 100\% \textasciicircum{}\textasciitilde{}" in result
    assert r"-{}-f" in result
    assert r"$\lambda$ {[}U+4E2D{]}" in result
    assert result.isascii()


@pytest.mark.parametrize("make", [probe, nasty, lambda: wide(13)])
def test_latex_is_balanced_and_every_row_has_every_column(make):
    table_ = make()
    result = render(table_, "tex", label="some label")
    bare = re.sub(r"\\[\\{}&%]", "", result)
    depth = 0
    for char in bare:
        depth += {"{": 1, "}": -1}.get(char, 0)
        assert depth >= 0
    assert depth == 0
    begun, ended = re.findall(r"\\begin{(\w+)}", result), re.findall(r"\\end{(\w+)}", result)
    assert sorted(begun) == sorted(ended)
    body = result[result.index(r"\toprule") : result.index(r"\bottomrule")].splitlines()
    rows = [each for each in body if not re.fullmatch(r"\\\w+", each)]
    assert len(rows) == 2 + len(table_.rows)
    for each in rows:
        assert each.endswith(r" \\")
        assert re.sub(r"\\&", "", each).count("&") == len(table_.columns)
        assert not each.startswith(("[", "*"))


def test_latex_has_published_values_in_a_line_below():
    quotes = {("wrn_40_2/wrn_16_2", "kd"): PublishedValue(74.92, 0.28, "CRD, Table 1")}
    lines = render(table(probe_entries(), probe_context(), "top1", quotes), "tex").splitlines()
    place = next(at for at, each in enumerate(lines) if each.startswith("KD & "))
    assert lines[place + 1] == r" & {\scriptsize[74.92; $-$0.02]} &  \\[2pt]"
    assert lines[place + 2].startswith("AT & ")


def test_latex_keeps_the_caption_short_and_prints_the_rest_below_the_table():
    caption, below = render(probe(), "tex").split(r"\begin{tabular}")
    assert (
        r"\textbf{Probe.} Top-1 test accuracy of the last epoch (\%; higher is better).}" in caption
    )
    assert "A short recipe on a tenth of CIFAR-100" in below
    [first, *_] = published.tables()
    line = next(x for x in render(first, "tex").splitlines() if x.startswith(r"\caption"))
    assert line.endswith(".} Top-1 test accuracy (\\%; higher is better) on CIFAR-100.}")
    statistics = render(probe(), "tex", "statistics")
    assert r"\caption{\textbf{Probe: statistics. WRN-40-2 $\to$ WRN-16-2" in statistics


def test_latex_numbers_have_the_same_room_after_them():
    lines = render(probe(), "tex").splitlines()
    first, second, plain = (
        next(line for line in lines if line.startswith(name)).split(" & ")[1]
        for name in ("CRD &", "AT &", "Student & 7")
    )
    arrow, room = r" $\uparrow$", r" $\downarrow${*}"
    assert first == rf"\textbf{{75.20\,\textpm\,0.26}}\rlap{{{arrow}}}\phantom{{{room}}}"
    assert second == rf"74.10\,\textpm\,0.10{room}"
    assert plain == rf"73.27\,\textpm\,0.25\phantom{{{room}}}"


@pytest.mark.parametrize(("pairs", "environment"), [(1, "table"), (3, "table"), (6, "table*")])
def test_latex_tables_that_would_be_too_small_in_a_column_span_the_page(pairs, environment):
    assert rf"\begin{{{environment}}}[tp]" in render(two_columns(pairs), "tex")


SIUNITX = ReportOptions(siunitx=True)


def test_siunitx_gets_numbers_in_its_columns_and_texts_in_braces():
    quotes = {("wrn_40_2/wrn_16_2", "kd"): PublishedValue(74.92, 0.28, "CRD, Table 1")}
    shown = table(probe_entries(), probe_context(), "top1", quotes)
    text = render(shown, "tex", options=SIUNITX)
    rows = {line.partition(" & ")[0]: line for line in text.splitlines() if " & " in line}
    assert r"\usepackage{siunitx}" in text
    room = r" $\downarrow${*}"
    assert (
        rf"{{lS[table-format=2.2(3){{{room}}}]S[table-format=2.2(3){{ (2)\textsuperscript{{b}}}}]}}"
        in text
    )
    assert r"Teacher & {WRN-40-2} & {resnet32x4} \\" in text
    assert rows["Teacher"] == r"Teacher & 75.61 & 79.42 \\"
    assert rows["AT"] == rf"AT & 74.10 \pm 0.10 {{{room}}} & {{skipped\textsuperscript{{a}}}} \\"
    assert rows["CRD"].startswith(r"CRD & \bfseries 75.20 \pm 0.26 { $\uparrow$} & \bfseries")
    value = r"\underline{\tablenum[table-format=2.2(3)]{74.90 \pm 0.10}}"
    assert rows["KD"].startswith(rf"KD & {{{value}\phantom{{{room}}}}} & ")
    assert rows[""] == r" & {{\scriptsize[74.92; $-$0.02]}} &  \\[2pt]"


def test_siunitx_makes_room_for_signs_and_for_every_digit():
    entries = [
        *cells("kd", [1.0, 33.0, 5.0], [-3.0, -4.0, -111.0]),
        *cells("at", [100.0] * 3, [9.0, 9.0, 9.5]),
    ]
    text = render(table(entries, TableContext("T")), "tex", options=SIUNITX)
    formats = re.findall(r"S\[table-format=([-\d.()]+)", text)
    assert formats[:2] == ["3.2(4)", "-2.2(4)"]
    assert r"kd & {\underline{\tablenum[table-format=3.2(4)]{13.00 \pm 17.44}}" in text
    statistics = render(table(entries, TableContext("T")), "tex", "statistics", options=SIUNITX)
    assert r"\begin{tabular}{lS[table-format=1]S[table-format=3.2(4)]cc" in statistics


def has_packages():
    if not shutil.which("pdflatex") or not shutil.which("kpsewhich"):
        return False
    command = ["kpsewhich", "booktabs.sty", "siunitx.sty"]
    return not subprocess.run(command, capture_output=True).returncode


def run_latex(folder):
    subprocess.run(
        ["pdflatex", "-draftmode", "-halt-on-error", "t.tex"],
        cwd=folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return (folder / "t.log").read_text("latin-1")


@pytest.mark.skipif(not has_packages(), reason="needs pdflatex with booktabs and siunitx")
@pytest.mark.parametrize("siunitx", [False, True])
@pytest.mark.parametrize("kind", ["tables", "statistics"])
def test_latex_compiles(tmp_path, kind, siunitx):
    tables = built(probe(), nasty(), wide(13), *published.tables())
    options = ReportOptions(formats=["tex"], standalone=True, siunitx=siunitx)
    report.write(tables, tmp_path, "t", options, kind)
    assert "Overfull" not in run_latex(tmp_path)


def two_columns(pairs):
    """A table of a study, with as many pairs as given."""
    names = [(f"WRN-40-{n}", f"ShuffleNetV{n}") for n in range(pairs)]
    entries = [
        Entry(f"{t}/{s}", t, s, method, seed, record(f"{t}{method}{seed}", seed, 70.0 + seed))
        for t, s in names
        for method in ("kd", "crd")
        for seed in range(3)
    ]
    return table(entries, TableContext(f"Study of {pairs}"))


@pytest.mark.skipif(not has_packages(), reason="needs pdflatex with booktabs and siunitx")
def test_latex_tables_fit_one_column_of_a_two_column_paper_and_are_never_enlarged(tmp_path):
    tables = built(*(two_columns(pairs) for pairs in (1, 2, 3, 4, 5, 6, 9)))
    floats = [render(each, "tex") for each in tables.tables]
    floats.append(report.render(tables, "tex", "statistics", label="s"))
    assert all(r"\usepackage{booktabs} \usepackage{graphicx}" in each for each in floats)
    grids = re.findall(r"\\resizebox.*?\\end{tabular}}", "\n".join(floats), re.DOTALL)
    widths = []
    for grid in grids:
        bare = grid[grid.index(r"\begin{tabular}") : -1]
        widths.append(rf"\sbox0{{{bare}}}\sbox2{{{grid}}}\typeout{{W \the\wd0 \the\wd2 .}}")
    body = "\n".join([*floats, *widths])
    (tmp_path / "t.tex").write_text(
        r"\documentclass[twocolumn]{article}\usepackage[utf8]{inputenc}\usepackage{booktabs}"
        r"\usepackage{calc}\usepackage{graphicx}\begin{document}\typeout{W \the\linewidth.}"
        f"\n{body}\n\\end{{document}}\n"
    )
    log = run_latex(tmp_path)
    assert "Overfull" not in log
    column = float(re.search(r"^W ([0-9.]+)pt\.", log, re.MULTILINE)[1])
    pairs = re.findall(r"^W ([0-9.]+)pt([0-9.]+)pt\.", log, re.MULTILINE)
    assert len(pairs) == len(grids)
    for natural, shown in ((float(a), float(b)) for a, b in pairs):
        assert shown == pytest.approx(min(natural, column), abs=0.01)
    assert float(pairs[0][0]) < column < float(pairs[2][0])


def test_csv_has_a_line_for_each_pair_and_method_of_each_table():
    tables = built(probe(), table(probe_entries(), probe_context(), "oracle"))
    lines = list(csv.DictReader(io.StringIO(report.render(tables, "csv"))))
    assert len(lines) == 2 * 7 * 2
    result = {(each["metric"], each["method"], each["pair"]): each for each in lines}
    crd = result["top1", "crd", "wrn_40_2/wrn_16_2"]
    assert [float(each) for each in crd["values"].split(";")] == [75.0, 75.5, 75.1]
    assert float(crd["mean"]) == pytest.approx(75.2)
    assert float(crd["std"]) == pytest.approx(0.2645751311)
    assert (crd["n"], crd["seeds"], crd["status"], crd["rank"]) == ("3", "0;1;2", "done", "best")
    hole = result["top1", "dcd", "resnet32x4/shufflenet_v2"]
    assert (hole["n"], hole["mean"], hole["status"]) == ("0", "", "missing")
    assert float(result["oracle", "kd", "wrn_40_2/wrn_16_2"]["mean"]) == pytest.approx(75.4)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1"])
def test_csv_holds_no_formula(name):
    pair = f"{name}/{name}"  # a name that tables do not show
    table_ = table([Entry(pair, name, name, name, 0, None, name, name)], TableContext(name))
    header, line = csv.reader(io.StringIO(render(table_, "csv")))
    texts = dict(zip(header, line, strict=True))
    assert texts["pair"] == "'" + " ".join(pair.split())
    for field in ("table", "teacher", "student", "method", "label", "note"):
        assert texts[field] == "'" + name.strip()


def test_text_columns_are_aligned_and_a_narrow_screen_gets_blocks():
    tables = built(table([*cells("kd", [70.0, 71.0], [72.0, 73.0])], TableContext("T")))
    lines = report.render(tables, "txt").splitlines()
    name, values = (
        next(each for each in lines if each.startswith(row)) for row in ("Student", "kd")
    )
    assert name.index("ShuffleNetV2") == 7 + 2 + len(" 70.50 ± 0.71 ") + 2 + 1
    assert values.index("72.50") == name.index("ShuffleNetV2")
    narrow = report.show(tables, width=30, terminal=False)
    assert sum(each.startswith("kd") for each in narrow.splitlines()) == 2
    assert max(map(len, narrow.splitlines())) <= 30


def test_a_terminal_gets_bold_and_underline_at_the_same_places():
    plain = render(probe(), "txt")
    colourful = report.show(built(probe()), width=None, terminal=True)
    assert "\x1b" not in plain
    assert colourful.count("\x1b[1m") == 3 + 1  # three best cells and the legend
    bare = re.sub(r"\x1b\[\dm", "", colourful).splitlines()
    starts = {each.index("±") for each in bare if re.match(r"(KD|AT|CRD|WCoRD)", each)}
    assert len(starts) == 1


def test_kl_has_four_digits_and_nll_three():
    def shown(metric):
        entries = cells("kd", [0.123456, 0.123456], metric=metric)
        return render(replace(table(entries, TableContext("T"), metric), caption=Caption()), "txt")

    assert "0.1235 ± 0.0000" in shown("kl")
    assert "0.123 ± 0.000" in shown("nll")


def test_only_known_formats_are_written(tmp_path):
    with pytest.raises(BenchError, match=r"no format 'htm'"):
        report.write(built(probe()), tmp_path, "x", ReportOptions(formats=["md", "htm"]))
    html = ReportOptions(formats=["html"])
    with pytest.raises(BenchError, match=r"no format 'html'"):
        report.write(built(probe()), tmp_path, "x", html)
    assert list(tmp_path.iterdir()) == []
    [path] = report.write(built(probe()), tmp_path, "x", html, page=lambda: "<p>ö")
    assert (path.name, path.read_text("utf-8")) == ("x.html", "<p>ö")


def test_formats_are_known_before_anything_is_written():
    assert report.check_formats(["md", "html", "md"]) == ("md", "html")
    with pytest.raises(BenchError, match=r"no format 'mdd'\. Did you mean 'md'\?"):
        report.check_formats(["csv", "mdd"])


def test_json_holds_every_cell_with_the_runs_behind_it():
    content = json.loads(report.render(Report.of("s", [probe()], probe_entries()), "json"))
    [probe_] = content["tables"]
    row = next(each for each in probe_["rows"] if each["name"] == "crd")
    assert row["cells"][0]["measured"]["values"] == {"0": 75.0, "1": 75.5, "2": 75.1}
    assert row["cells"][0]["metrics"]["oracle"]["values"] == {"0": 75.5, "1": 76.0, "2": 75.6}
    assert row["cells"][0]["terms"] == {"ce": {"weight": 1.0, "options": {}}}
    assert row["cells"][0]["teachers"] == ["7e" * 32]
    assert content["environment"]["torch"] == "2.15.0"
    assert (row["cells"][0]["rank"], row["cells"][0]["versus"]) == ("best", "better")
    assert row["cells"][0]["runs"] == [f"wrn_40_2/wrn_16_2crd{seed}" for seed in range(3)]
    assert [each["mark"] for each in probe_["notes"]] == ["†", "‡", "a", "b", "c", "d", ""]
