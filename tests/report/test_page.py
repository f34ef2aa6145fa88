"""The page as text: safe, alone, the same bytes for the same records."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from page_factory import HOSTILE, entries
from report_factory import cells, probe_about, probe_entries

from bench.report.embedded import MOST_POINTS, Embedded, curves
from bench.report.page import page
from bench.report.table import About, Entry


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


def embedded_data(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_the_same_records_give_the_same_bytes():
    assert page(probe_entries(), probe_about()) == page(probe_entries(), probe_about())


def test_nothing_is_loaded_and_only_the_own_style_and_script_may_run():
    reader = read(page(entries(), About("T")))
    attributes = [(tag, *one) for tag, found in reader.elements for one in found.items()]
    assert not [one for one in attributes if one[1] in ("src", "srcset", "style", "action")]
    assert not [one for one in attributes if one[1].startswith("on")]
    assert {value for _, key, value in attributes if key == "href"} == {
        "#results", "#curves", "#cost", "#records",
    }  # fmt: skip
    [policy] = [f["content"] for _, f in reader.elements if f.get("http-equiv")]
    style, _, script = reader.texts
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src '{sha(style)}'; script-src '{sha(script)}'; base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in script.replace("http://www.w3.org/2000/svg", "")


def test_hostile_texts_stay_texts():
    text = page(entries(HOSTILE), About(HOSTILE, HOSTILE))
    tags = [tag for tag, _ in read(text).elements]
    assert tags.count("script") == 2
    assert not {"img", "b-evil", "iframe"} & set(tags)
    data = embedded_data(text)
    assert HOSTILE.replace("\ud800", " ") in {one["label"] for one in data["cells"]}
    assert "<" not in re.search(r'id="data">(.*?)</script>', text, re.S)[1]


def test_every_number_is_a_button_to_its_records():
    text = page(entries(), About("T"))
    data = embedded_data(text)
    buttons = [f for tag, f in read(text).elements if tag == "button" and "data-cell" in f]
    for found in buttons:
        assert data["cells"][int(found["data-cell"])]["runs"]
        assert found["aria-haspopup"] == "dialog"
    assert len({found["data-cell"] for found in buttons}) == len(data["cells"])
    crd = next(found for found in buttons if found["aria-label"].startswith("CRD"))
    assert "WRN-40-2 to WRN-16-2: 75.20 ± 0.26, n = 3, best of its column" in crd["aria-label"]


def test_each_table_is_followed_by_its_statistics():
    text = page(entries(), About("T"))
    elements = read(text).elements
    kinds = [f["class"] for tag, f in elements if f.get("class") in ("result", "statistics")]
    assert kinds == ["result", "statistics"] * (len(kinds) // 2)
    metrics = [f["data-metric"] for tag, f in elements if "data-metric" in f]
    assert metrics[::2] == metrics[1::2]
    assert "T: statistics" in text
    assert "inconclusive (about" in text
    assert ">−0.80 [−0.90, −0.70]<" in text


def test_the_tolerance_and_the_reference_hold_on_the_page_too():
    text = page(entries(), About("T", reference="crd", tolerance=3.0))
    assert "Difference to CRD" in text
    assert "a difference of more than 3 points" in text


def test_headers_have_a_scope_and_controls_a_name():
    reader = read(page(entries(), About("T")))
    assert {f.get("scope") for tag, f in reader.elements if tag == "th"} == {"col", "row"}
    labelled = {f["for"] for tag, f in reader.elements if tag == "label"}
    assert {f["id"] for tag, f in reader.elements if tag == "select"} == labelled
    ids = [f["id"] for _, f in reader.elements if "id" in f]
    assert len(ids) == len(set(ids))


def test_only_metrics_that_were_measured_have_a_table():
    text = page(cells("kd", [70.0, 71.0], [70.0]), About("T"))
    shown = {f["data-metric"] for _, f in read(text).elements if "data-metric" in f}
    assert shown == {"top1", "oracle"}


def test_a_suite_without_a_record_is_a_page_too():
    text = page(cells("kd", [None]), About("T"))
    assert embedded_data(text)["records"] == {}
    assert "All 0 records" in text


def epochs(count, every=1):
    return [
        {"epoch": e, "loss": 1 / e, "lr": 0.1, "seconds": 2.0, "shared_seconds": 0.5,
         "images_per_second": 160.0,
         **({"test": {"top1": 50.000049 + e}} if e % every == 0 else {})}
        for e in range(1, count + 1)
    ]  # fmt: skip


def test_short_curves_are_whole_and_long_ones_keep_their_ends():
    assert curves(epochs(3))["epoch"] == [1, 2, 3]
    assert curves(epochs(3))["top1"] == [51.0, 52.0, 53.0]
    long = curves(epochs(240))
    assert len(long["epoch"]) <= MOST_POINTS
    assert (long["epoch"][0], long["epoch"][-1]) == (1, 240)
    sparse = curves(epochs(300, every=50))
    assert sparse["epoch"] == [1, 50, 100, 150, 200, 250, 300]
    assert sparse["top1"][0] is None
    assert curves([]) == {}


def test_a_page_says_that_it_thins_curves():
    record = {"id": "r", "status": "done", "curves": epochs(240), "metrics": {}}
    one = [Entry("p", "t", "s", "kd", 0, record)]
    assert "at most 64 of up to 240 epochs" in page(one, About("T"))
    assert "thinned" not in page(entries(), About("T"))


def test_cost_counts_the_students_passes_and_the_teachers_where_it_is_asked():
    def student(run, terms):
        return {
            "id": run, "status": "done", "curves": epochs(2), "network": {"multiply_adds": 10},
            "teacher": {"id": "t"}, "specification": {"method": terms},
        }  # fmt: skip

    teacher = {"id": "t", "status": "done", "curves": [], "network": {"multiply_adds": 7}}
    found = Embedded(
        [
            Entry("p", "t", "s", "teacher", 0, teacher, role="teacher"),
            Entry("p", "t", "s", "student", 0, student("a", {"ce": {}}), role="student"),
            Entry("p", "t", "s", "kd", 0, student("b", {"ce": {}, "kd": {}})),
        ]
    ).content()["records"]
    assert found["t"]["cost"] == {}
    assert found["a"]["cost"] == {"seconds": 5.0, "multiply_adds": 640 * 30}
    assert found["b"]["cost"] == {"seconds": 5.0, "multiply_adds": 640 * 37}


def test_where_a_folder_of_images_lies_is_not_told():
    record = {"id": "r", "specification": {"data": {"name": "folder:/home/me/secret/birds"}}}
    text = page([Entry("p", "t", "s", "kd", 0, record)], About("T"))
    assert "secret" not in text
    assert "birds" in text
