"""A baseline's file: nothing is lost, same records give same bytes, mistakes name their place."""

import json

import pytest

from bench import regression, report
from bench.config.loader import MAX_JSON_BYTES
from bench.errors import BenchError, ConfigError
from bench.report.build import tables
from bench.report.model import Report, TableContext
from tests.regression.factory import entries, generator, suite, unfinished
from tests.regression.test_check import changed

VALUES = {"student": [95.0, 95.2, 94.9], "kd": [96.0, 96.1, 95.8]}


def runs():
    at = list(entries({"at": [95.0, 95.0, 95.0]}))
    return [*entries(VALUES), *changed(at, "at", lambda entry: unfinished("skipped", "why"))]


def write(built, path):
    path.write_text(report.render(built, "json"), "utf-8")


def content(tmp_path):
    write(regression.baseline(runs(), "quickstart"), tmp_path / "b.json")
    return json.loads((tmp_path / "b.json").read_text("utf-8"))


def cells(result):
    rows = (row for table in result["tables"] for row in table["rows"])
    return {cell["method"]: cell for row in rows for cell in row["cells"]}


def test_what_is_written_is_read_back(tmp_path):
    built = regression.baseline(runs(), "quickstart")
    write(built, tmp_path / "b.json")
    again = regression.read(tmp_path / "b.json")
    assert again.cells == built.cells
    assert again.title == "the baseline of quickstart (commit 61fcf1e, 2026-11-21)"
    write(again, tmp_path / "c.json")
    assert (tmp_path / "c.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("metric", ["top1", "nll"])
def test_the_json_of_any_report_is_a_baseline(tmp_path, metric):
    built = Report.of("quickstart", tables(runs(), TableContext("T"), metric), runs())
    write(built, tmp_path / "report.json")
    read = regression.read(tmp_path / "report.json")
    baseline = regression.baseline(runs(), "quickstart")
    assert [cell.metrics for cell in read.cells] == [cell.metrics for cell in baseline.cells]
    result = regression.check(runs(), read)
    assert {cell.method: cell.outcome for cell in result.cells} == {
        "student": "pass", "kd": "pass", "at": "skipped",
    }  # fmt: skip
    assert {cell.notes for cell in result.cells} == {()}


def test_every_metric_has_mean_spread_n_and_values_by_seed(tmp_path):
    metrics = cells(content(tmp_path))["kd"]["metrics"]
    assert set(metrics) == {"top1", "nll", "oracle"}
    assert metrics["top1"]["values"] == {"0": 96.0, "1": 96.1, "2": 95.8}
    assert (metrics["top1"]["n"], metrics["top1"]["mean"]) == (3, pytest.approx(95.9666667))
    assert metrics["top1"]["std"] == pytest.approx(0.1527525)


def test_setting_has_no_seed(tmp_path):
    result = content(tmp_path)
    kd = cells(result)["kd"]
    assert kd["setting"]["recipe"]["epochs"] == 20
    assert kd["setting"]["teacher"]["network"] == "resnet8x4"
    assert "seed" not in json.dumps([kd["setting"], kd["terms"]])
    assert kd["teachers"] == ["7e" * 32]
    assert cells(result)["at"]["missing"] == {"status": "skipped", "reason": "skipped: why"}
    assert result["environment"]["torch"] == "2.15.0"
    assert result["finished"] == "2026-11-21T04:32:00+00:00"


def hand(**top1):
    cell = {"pair": "resnet8x4/resnet8", "method": "kd", "metrics": {"top1": top1}}
    return {"format": 2, "suite": "s", "tables": [{"rows": [{"cells": [cell]}]}]}


def test_a_file_by_hand_needs_only_means_spreads_and_n(tmp_path):
    path = tmp_path / "hand.json"
    path.write_text(json.dumps(hand(mean=96.0, std=0.1, n=5)))
    result = regression.check(list(entries({"kd": [93.0, 93.1, 92.9]})), regression.read(path))
    assert [cell.outcome for cell in result.cells] == ["regression"]
    assert result.cells[0].notes == ()


def test_all_mistakes_are_listed_with_their_place(tmp_path):
    result = content(tmp_path)
    built = cells(result)
    built["kd"]["metrics"]["top1"]["n"] = "3"
    built["student"]["metrics"]["top1"]["values"]["x"] = 1.0
    built["student"]["metrics"]["nll"]["std"] = -1
    built["student"]["lable"] = "x"
    del result["suite"]
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(result))
    with pytest.raises(ConfigError) as raised:
        regression.read(path)
    text = "\n".join(raised.value.lines)
    for expected in (
        f"{path}  suite: missing",
        "rows.2.cells.0.metrics.top1.n: found the text '3'. Input should be a valid integer",
        "rows.1.cells.0.metrics.top1.values.x: found the text 'x'. ",
        "rows.1.cells.0.metrics.nll.std: found the number -1. Input should be greater than",
        "rows.1.cells.0.lable: no key 'lable'. Did you mean 'label'?",
    ):
        assert expected in text
    assert len(raised.value.lines) == 5


@pytest.mark.parametrize(
    ("top1", "message"),
    [
        ({"mean": 1.0, "std": None, "n": 3}, "found std None for n = 3. Allowed: null if"),
        ({"mean": 1.0, "std": 0.1, "n": 1}, "found std 0.1 for n = 1"),
        ({"mean": 1.0, "std": 0.0, "n": 2, "values": {"0": 1.0}}, "mean or std differs"),
        ({"mean": 7.0, "std": None, "n": 1, "values": {"0": 1.0}}, "mean or std differs"),
        ({"mean": 1e308, "std": 1e308, "n": 3}, "mean: .* or equal to 1000000000000"),
        ({"mean": 1.0, "std": 1e13, "n": 3}, "std: .* less than or equal to 10000"),
        ({"mean": 1.0, "std": 0.1, "n": 10**30, "values": {}}, "n: .* or equal to 1000000"),
        ({"mean": 1.0, "std": None, "n": 1, "values": {"9" * 5000: 1.0}}, "valid integer"),
        ({"mean": 1.0, "std": 0.0, "n": 2, "values": {"0": 1.0, "00": 1.0}}, "values.00: "),
        ({"mean": 1.0, "std": None, "n": 1, "values": {"\u0663": 1.0}}, "values.\u0663: "),
        ({"mean": 1.0, "std": None, "n": 1, "values": {"0": -1e308}}, "values.0: .*should be"),
    ],
)
def test_a_summary_that_no_records_have(tmp_path, top1, message):
    path = tmp_path / "b.json"
    path.write_text(json.dumps(hand(**top1)))
    with pytest.raises(ConfigError, match=message):
        regression.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "the file: found a list. Input should be"),
        ('{"format": 1}', "format: found 1. Allowed: 2; record the baseline again with"),
        ('{"format": true}', "format: found true. Allowed: 2"),
        ("[" * 200_000, "nested deeper than 40 levels, the maximum"),
        ('{"a": ' * 300 + "1" + "}" * 300, "nested deeper than 40 levels, the maximum"),
        ('{"format": 2, "suite": "s", "tables": [], "finished": NaN}', "finished"),
    ],
)
def test_a_file_that_is_not_a_baseline(tmp_path, text, message):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        regression.read(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "b.json").open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 65,536 KiB, the maximum"):
        regression.read(tmp_path / "b.json")


def test_a_missing_file(tmp_path):
    with pytest.raises(BenchError, match="cannot be read: No such file"):
        regression.read(tmp_path / "none.json")


def test_same_records_give_the_same_bytes_in_any_order(tmp_path):
    chosen = suite(generator(0))
    for name in ("a", "b"):
        write(regression.baseline(list(chosen), "quickstart"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    backwards = sorted(chosen, key=lambda entry: -entry.seed)
    first = regression.baseline(chosen, "s").cells
    assert first == regression.baseline(backwards, "s").cells
