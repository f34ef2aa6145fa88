"""The page as text: safe, self-contained, the same bytes for the same records."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from page_factory import HOSTILE, entries
from report_factory import cells

from bench.report.build import all_tables
from bench.report.model import Entry, TableContext
from bench.report.writers.html import page as write_page
from tests.records import make_record


def page(runs, context):
    return write_page(runs, context, all_tables(runs, replace(context, caption="")))


@pytest.fixture(scope="module")
def text():
    return page(entries(), TableContext("T"))


class Reader(HTMLParser):
    """Elements with their attributes, and the texts of scripts and styles."""

    def __init__(self):
        super().__init__()
        self.elements, self.inside, self.texts = [], "", []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, text):
        if self.inside in ("script", "style"):
            self.texts.append(text)
            self.inside = ""


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def sha(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.mark.slow
def test_same_records_give_the_same_bytes(text):
    assert page(entries(), TableContext("T")) == text


def test_page_loads_nothing_and_runs_only_its_own_style_and_script(text):
    reader = read(text)
    attributes = [(tag, *pair) for tag, result in reader.elements for pair in result.items()]
    assert not [each for each in attributes if each[1] in ("src", "srcset", "style", "action")]
    assert not [each for each in attributes if each[1].startswith("on")]
    links = {value for tag, key, value in attributes if key == "href" and tag == "a"}
    sections = {"#results", "#curves", "#cost", "#records"}
    assert sections < links
    assert all(link.startswith(("#run-", "runs/")) for link in links - sections)
    [policy] = [f["content"] for _, f in reader.elements if f.get("http-equiv")]
    style, script = reader.texts
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src '{sha(style)}'; script-src '{sha(script)}'; base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in script


def test_hostile_texts_stay_texts():
    text = page(entries(HOSTILE), TableContext(HOSTILE, HOSTILE))
    tags = [tag for tag, _ in read(text).elements]
    assert tags.count("script") == 1
    assert not {"img", "b-evil", "iframe"} & set(tags)


def test_numbers_lead_to_records_that_are_on_the_page(text):
    elements = read(text).elements
    numbers = [f for tag, f in elements if tag == "a" and f.get("class") == "number"]
    records = {f["id"] for _, f in elements if f.get("class") == "record"}
    assert len(records) == len({entry.record.id for entry in entries()})
    for number in numbers:
        assert number["href"].removeprefix("#") in {id_.replace(" ", "%20") for id_ in records}
    crd = next(f for f in numbers if f["aria-label"].startswith("CRD"))
    assert "WRN-40-2 to WRN-16-2: 75.20 ± 0.26, n = 3, best of its column" in crd["aria-label"]


def test_record_lists_results_specification_and_environment(text):
    record = text.split('id="run-wrn_40_2/wrn_16_2crd0"')[1].split('class="record"')[0]
    assert "<dt>top1</dt><dd>75.00 %</dd>" in record
    assert "<dt>torch</dt><dd>2.15.0</dd>" in record
    assert "78,042 parameters, 781,952 multiply-adds" in record
    assert "method:\n  ce:\n    weight: 1.0" in record
    assert 'href="runs/wrn_40_2%2Fwrn_16_2crd0.json"' in record


def test_each_table_is_followed_by_its_statistics(text):
    elements = read(text).elements
    kinds = [f["class"] for _, f in elements if f.get("class") in ("result", "statistics")]
    assert kinds == ["result", "statistics"] * (len(kinds) // 2)
    tables = [f for _, f in elements if f.get("class") in ("result", "statistics")]
    metrics = [f["data-metric"] for f in tables]
    assert metrics[::2] == metrics[1::2]
    assert "T: statistics" in text
    assert "inconclusive (about" in text
    assert ">−0.80 [−1.11, −0.49]<" in text


def test_tolerance_and_reference_apply_to_the_page():
    text = page(entries(), TableContext("T", reference="crd", tolerance=3.0))
    assert "Difference to CRD" in text
    assert "a difference of more than 3 points" in text


def test_headers_have_a_scope_and_controls_a_name(text):
    reader = read(text)
    assert {f.get("scope") for tag, f in reader.elements if tag == "th"} == {"col", "row"}
    labelled = {f["for"] for tag, f in reader.elements if tag == "label"}
    assert {f["id"] for tag, f in reader.elements if tag == "select"} == labelled
    ids = [f["id"] for _, f in reader.elements if "id" in f]
    assert len(ids) == len(set(ids))


def test_charts_are_inline_svg_with_titles_for_each_pair_and_metric(text):
    charts = [f for _, f in read(text).elements if f.get("class") == "chart"]
    first = [f.get("data-metric") for f in charts if f["data-pair"] == "wrn_40_2/wrn_16_2"]
    assert first == ["top1", "nll", None, "top1", "nll", "oracle"]  # curves, loss, then cost
    assert {f["role"] for f in charts} == {"img"}
    assert "top-1 test accuracy (%) against epoch" in charts[0]["aria-label"]
    assert "<title>KD: 72.2 after 12 epochs</title>" in text
    assert "<title>KD: 74.90 ± 0.10 %, 16.2 s</title>" in text
    svg = re.search("<svg.*?</svg>", text, re.S)[0]
    assert "style" not in svg
    assert "currentColor" in svg
    references = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    assert references <= set(re.findall(r'id="([^"]+)"', svg))


def test_only_measured_metrics_have_a_table():
    text = page(cells("kd", [70.0, 71.0], [70.0]), TableContext("T"))
    shown = {f["data-metric"] for _, f in read(text).elements if "data-metric" in f}
    assert shown == {"top1", "oracle"}


def test_suite_without_a_record_has_a_page():
    assert "All 0 records" in page(cells("kd", [None]), TableContext("T"))


def test_path_of_a_folder_of_images_is_not_on_the_page():
    record = make_record("r", specification={"data": {"name": "folder:/home/me/secret/birds"}})
    text = page([Entry("p", "t", "s", "kd", 0, record)], TableContext("T"))
    assert "secret" not in text
    assert "birds" in text
