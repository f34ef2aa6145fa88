"""A baseline's file: nothing is lost, the same records give the same bytes, mistakes are told."""

import json

import pytest

from bench import regression
from bench.config.loader import MAX_JSON_BYTES
from bench.errors import BenchError, ConfigError
from tests.regression.factory import entries, generator, suite, unfinished
from tests.regression.test_check import changed

VALUES = {"student": [95.0, 95.2, 94.9], "kd": [96.0, 96.1, 95.8]}


def made():
    holes = changed(
        list(entries({"at": [95.0, 95.0, 95.0]})), "at", lambda one: unfinished("skipped", "why")
    )
    return regression.baseline([*entries(VALUES), *holes], "quickstart")


def content(tmp_path):
    regression.write(made(), tmp_path / "b.json")
    return json.loads((tmp_path / "b.json").read_text("utf-8"))


def test_what_is_written_is_read_back(tmp_path):
    regression.write(made(), tmp_path / "b.json")
    again = regression.read(tmp_path / "b.json")
    assert again == made()
    assert again.title == "the baseline of quickstart (commit 61fcf1e, 2026-11-21)"
    regression.write(again, tmp_path / "c.json")
    assert (tmp_path / "c.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_every_metric_is_kept_with_mean_spread_n_and_seeds(tmp_path):
    kept = content(tmp_path)["pairs"]["resnet8x4/resnet8"]["methods"]["kd"]["metrics"]
    assert set(kept) == {"top1", "nll", "oracle"}
    assert kept["top1"]["values"] == {"0": 96.0, "1": 96.1, "2": 95.8}
    assert (kept["top1"]["n"], kept["top1"]["mean"]) == (3, pytest.approx(95.9666667))
    assert kept["top1"]["std"] == pytest.approx(0.1527525)


def test_the_setting_is_kept_without_a_seed(tmp_path):
    found = content(tmp_path)
    pair = found["pairs"]["resnet8x4/resnet8"]
    assert pair["setting"]["recipe"]["epochs"] == 20
    assert pair["setting"]["teacher"]["network"] == "resnet8x4"
    assert "seed" not in json.dumps(pair)
    assert pair["methods"]["at"]["hole"] == {"status": "skipped", "reason": "skipped: why"}
    assert found["environment"]["torch"] == "2.15.0"
    assert found["made"] == "2026-11-21T04:32:00+00:00"


def test_a_file_by_hand_needs_no_more_than_means_spreads_and_n(tmp_path):
    path = tmp_path / "hand.json"
    kd = {"metrics": {"top1": {"mean": 96.0, "std": 0.1, "n": 5}}}
    path.write_text(
        json.dumps(
            {"format": 1, "suite": "s", "pairs": {"resnet8x4/resnet8": {"methods": {"kd": kd}}}}
        )
    )
    found = regression.check(list(entries({"kd": [93.0, 93.1, 92.9]})), regression.read(path))
    assert [cell.outcome for cell in found.cells] == ["regression"]
    assert found.cells[0].notes == ()


def test_all_mistakes_are_told_each_with_its_place(tmp_path):
    found = content(tmp_path)
    methods = found["pairs"]["resnet8x4/resnet8"]["methods"]
    methods["kd"]["metrics"]["top1"]["n"] = "3"
    methods["kd"]["metrics"]["nll"]["mean"] = 7.0
    methods["student"]["metrics"]["top1"]["values"]["x"] = 1.0
    methods["student"]["metrics"]["nll"]["std"] = -1
    methods["student"]["lable"] = "x"
    del found["suite"]
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ConfigError) as raised:
        regression.read(path)
    told = "\n".join(raised.value.lines)
    at = "pairs.resnet8x4/resnet8.methods"
    for expected in (
        f"{path}  suite: missing",
        f'{at}.kd.metrics.top1.n: input should be a valid integer; found "3"',
        f"{at}.kd.metrics.nll: n, mean and std are not those of the values",
        f"{at}.student.metrics.top1.values.x: ",
        f"{at}.student.metrics.nll.std: input should be greater than or equal to 0; found -1",
        f"{at}.student.lable: no key 'lable'. Did you mean 'label'?",
    ):
        assert expected in told
    assert len(raised.value.lines) == 6


@pytest.mark.parametrize(
    ("one", "said"),
    [
        ({"mean": 1.0, "std": None, "n": 3}, "std is null for n = 1, and only there"),
        ({"mean": 1.0, "std": 0.1, "n": 1}, "std is null for n = 1, and only there"),
        ({"mean": 1.0, "std": 0.0, "n": 2, "values": {"0": 1.0}}, "are not those of the values"),
        (
            {"mean": 1e308, "std": 1e308, "n": 3},
            r"mean: .* or equal to 1000000000000; found 1e\+308",
        ),
        ({"mean": 1.0, "std": 1e13, "n": 3}, "std: input should be less than or equal to 10000"),
        ({"mean": 1.0, "std": 0.1, "n": 10**30, "values": {}}, "n: .* or equal to 1000000; found"),
        ({"mean": 1.0, "std": None, "n": 1, "values": {"9" * 5000: 1.0}}, "string should match"),
        ({"mean": 1.0, "std": 0.0, "n": 2, "values": {"0": 1.0, "00": 1.0}}, "values.00: string"),
        ({"mean": 1.0, "std": None, "n": 1, "values": {"\u0663": 1.0}}, "values.\u0663: string"),
        ({"mean": 1.0, "std": None, "n": 1, "values": {"0": -1e308}}, "values.0: input should be"),
    ],
)
def test_a_summary_that_no_records_have(tmp_path, one, said):
    path = tmp_path / "b.json"
    pairs = {"a/b": {"methods": {"kd": {"metrics": {"top1": one}}}}}
    path.write_text(json.dumps({"format": 1, "suite": "s", "pairs": pairs}))
    with pytest.raises(ConfigError, match=said):
        regression.read(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "the file: input should be"),
        ('{"format": 2}', "format: found 2; this version reads format 1"),
        ('{"format": true}', "format: found true; this version reads format 1"),
        ("[" * 200_000, "nested deeper than 40 levels"),
        ('{"a": ' * 50 + "1" + "}" * 50, "nested deeper than 40 levels"),
        ('{"format": 1, "suite": "s", "pairs": {}, "made": NaN}', "made"),
    ],
)
def test_what_is_no_baseline(tmp_path, text, said):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        regression.read(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "b.json").open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 65,536 KiB, the maximum"):
        regression.read(tmp_path / "b.json")


def test_no_file(tmp_path):
    with pytest.raises(BenchError, match="cannot be read: No such file"):
        regression.read(tmp_path / "none.json")


def test_the_same_records_give_the_same_bytes_whatever_their_order(tmp_path):
    asked = suite(generator(0))
    for name in ("a", "b"):
        regression.write(regression.baseline(list(asked), "quickstart"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    backwards = sorted(asked, key=lambda one: -one.seed)
    first = regression.baseline(asked, "s").cells
    assert first == regression.baseline(backwards, "s").cells
