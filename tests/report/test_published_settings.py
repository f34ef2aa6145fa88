"""Published numbers of the papers' other experiments: what they are, and beside which cells."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from report_factory import render

from bench import api, suite
from bench.errors import BenchError, ConfigError
from bench.planning import saved
from bench.report import ReportOptions, build
from bench.report.published_settings import lines, numbers
from bench.results import Results
from bench.suite.parts import SOURCES
from tests import toy

FOLDER = Path(__file__).parents[2] / "results" / "published" / "settings"
PROBES = "{stl: {dataset: {name: stl10, size: 32}}, tiny: {dataset: tiny_imagenet}}"
TRANSFER = "[{teacher: wrn_40_2, student: wrn_16_2}, {teacher: vgg13, student: mobilenet_v2}]"
R18 = "torchvision:resnet34/torchvision:resnet18"
SELF = "[{teacher: wrn_16_2, members: 8, student: wrn_16_2},"
SELF += " {teacher: resnet20, members: 4, student: resnet20}, {teacher: resnet20, student: vgg8}]"


def read(folder, **keys):
    """A suite on CIFAR-100 with the papers' methods."""
    keys = {"dataset": "cifar100", "recipe": "", "teachers": "", "options": ""} | keys
    keys.setdefault("methods", "[student, kd, crd, crd+kd, dcd]")
    return suite.read(toy.write(folder, **keys))


def means(values):
    return {key: value.mean for key, value in values.items()}


def test_every_number_is_that_of_a_file():
    raw = [
        (name, row["value"])
        for name in ("transfer", "ensemble", "few_samples", "imagenet", "self_gap")
        for row in csv.DictReader((FOLDER / f"{name}.csv").read_text("utf-8").splitlines())
    ]
    assert [(line.file, "" if line.value is None else line.value) for line in lines()] == [
        (name, value and float(value)) for name, value in raw
    ]
    assert {line.key for line in lines()} >= {*SOURCES}


def test_transfer_is_shown_beside_probes_of_the_papers_targets(tmp_path):
    result = numbers(read(tmp_path, pairs=TRANSFER, probes=PROBES))
    stl = means(result.values("probe.stl.top1"))
    assert stl["wrn_40_2/wrn_16_2", "teacher"] == 68.6  # Table 4
    assert stl["wrn_40_2/wrn_16_2", "crd"] == 71.6
    assert stl["wrn_40_2/wrn_16_2", "dcd"] == 71.2
    assert stl["vgg13/mobilenet_v2", "crd+kd"] == 70.7  # HSAKD's MobileNetV2 is another network
    assert ("vgg13/mobilenet_v2", "hsakd") not in stl
    assert means(result.values("probe.tiny.top1"))["wrn_40_2/wrn_16_2", "crd"] == 35.6
    kd = result.values("probe.stl.top1")["wrn_40_2/wrn_16_2", "kd"]
    assert kd.source == "CRD, Table 8 (n not stated)"
    assert result.values("top1")["wrn_40_2/wrn_16_2", "kd"].source == "CRD, Table 1"
    notes = result.notes("probe.stl.top1", ["wrn_40_2/wrn_16_2"], ["kd", "dcd"])
    assert [note.split()[0] for note in notes] == ["CRD", "the"]
    assert "reprints CRD's rows" in notes[1]


@pytest.mark.parametrize(
    "probe",
    [
        "{dataset: {name: stl10, size: 96}}",
        "{dataset: {name: stl10, per_class: 9}}",
        "{dataset: digits}",
        "{dataset: stl10, kind: knn}",
        "{dataset: stl10, kind: finetune}",
        "{dataset: stl10, features: stages}",
    ],
)
def test_another_probe_has_no_published_number(tmp_path, probe):
    result = numbers(read(tmp_path, pairs=TRANSFER, probes=f"{{p: {probe}}}"))
    assert result.values("probe.p.top1") == {}


def test_a_subset_of_cifar_100_has_no_published_transfer(tmp_path):
    few = read(tmp_path, pairs=TRANSFER, dataset="{name: cifar100, per_class: 50}", probes=PROBES)
    assert numbers(few).values("probe.stl.top1") == {}


def test_ensembles_of_the_student_s_network(tmp_path):
    result = numbers(read(tmp_path, pairs=SELF))
    values = means(result.values("top1"))
    assert values == {
        ("wrn_16_2x8/wrn_16_2", "student"): 73.3,
        ("wrn_16_2x8/wrn_16_2", "crd"): 76.3,
        ("resnet20x4/resnet20", "student"): 69.1,
    }
    pairs = ["wrn_16_2x8/wrn_16_2", "resnet20x4/resnet20", "resnet20/vgg8"]
    plot, remark = result.notes("top1", pairs, ["student", "kd", "crd"])
    assert plot == (
        "CRD, Figure 4 (n not stated): only in a plot, so not shown: KD on wrn_16_2x8/wrn_16_2; "
        "KD on resnet20x4/resnet20; CRD on resnet20x4/resnet20"
    )
    assert remark.startswith("CRD does not state how the members")


def shipped(name):
    return suite.read(suite.find(name))


@pytest.mark.parametrize(
    ("source", "kd"), [("crd", 70.66), ("torchdistill", 71.37), ("mdistiller", 71.03)]
)
def test_a_suite_names_the_source_of_imagenet(source, kd):
    file = shipped(f"imagenet_{source}")
    value = numbers(file).values("top1")[R18, "kd"]
    assert (value.mean, bool(value.doubt)) == (kd, source != "crd")  # two are of best epochs
    assert numbers(replace(file, published="")).values("top1") == {}


def test_imagenet_errors_are_accuracies_and_other_methods_are_in_a_note():
    crd = numbers(shipped("imagenet_crd"))
    assert means(crd.values("top5"))[R18, "teacher"] == 91.42
    [also] = crd.notes("top1", [R18], ["student", "teacher", "kd", "crd", "crd+kd", "at", "sp"])
    assert (
        also == f"CRD, Table 3 (n not stated) also has: CC 69.96 on {R18}; Online KD 70.55 on {R18}"
    )
    mobile = numbers(shipped("imagenet_dist")).values("top1")
    assert mobile["torchvision:resnet50/mobilenet_v1", "dist"].mean == 73.24


def test_other_views_and_other_teachers_have_no_published_numbers(tmp_path):
    views = "{teacher: rgb, student: grey}"
    for change in ({"views": views}, {"teachers": "{dataset: {name: cifar100, per_class: 9}}"}):
        result = numbers(read(tmp_path, pairs=TRANSFER, probes=PROBES, **change))
        assert result.values("top1") == result.values("probe.stl.top1") == {}


def test_few_samples_are_matched_by_their_share(tmp_path):
    keys = {"pairs": "[{teacher: resnet56, student: resnet20}]", "published": "hsakd"}
    part = "{name: cifar100, per_class: 125}"
    same = numbers(read(tmp_path, dataset=part, **keys))
    assert same.named == (), "HSAKD's teacher has all images"
    keys["teachers"] = "{dataset: cifar100}"
    for share, text in ((125, "68.50 ± 0.24"), (375, "73.26 ± 0.11")):
        data = f"{{name: cifar100, per_class: {share}}}"
        result = numbers(read(tmp_path, dataset=data, **keys))
        notes = result.notes("top1", ["resnet56/resnet20"], ["kd"])
        origin = "HSAKD, README few-shot (n not stated)"
        assert notes == [f"{origin} also has: HSAKD* {text} on resnet56/resnet20"]
        assert result.notes("nll", ["resnet56/resnet20"], ["kd"]) == []


def test_assistants_and_capacity_gaps(tmp_path):
    pairs = (
        "[{teacher: resnet110, student: resnet20}, {teacher: resnet110, student: resnet8},"
        " {name: assistant, teacher: {pair: resnet110/resnet20, method: kd}, student: resnet8}]"
    )
    result = numbers(read(tmp_path, pairs=pairs, published="takd")).values("top1")
    assert means(result)["assistant", "kd"] == 61.82
    assert means(result)["resnet110/resnet8", "kd"] == 61.41
    assert result["assistant", "kd"].source == "TAKD, issue 7 (n = 1)"
    assert result["assistant", "kd"].doubt.startswith("single run")
    assert means(result)["resnet110/resnet20", "crd"] == 71.46  # TAKD has none: CRD's Table 1
    without = numbers(read(tmp_path, pairs=pairs)).values("top1")
    assert means(without)["resnet110/resnet20", "kd"] == 70.67
    assert not [pair for pair, _ in without if pair in ("assistant", "resnet110/resnet8")]


def test_a_pair_s_own_name_does_not_change_its_published_numbers(tmp_path):
    pairs = "[{name: first, teacher: vgg13, student: vgg8},"
    pairs += " {name: vgg13/vgg8, teacher: vgg16, student: vgg8}]"
    values = numbers(read(tmp_path, pairs=pairs)).values("top1")
    assert {pair for pair, _ in values} == {"first"}


def test_a_report_shows_them_with_their_notes(tmp_path):
    path = toy.write(tmp_path, dataset="cifar100", options="", pairs=SELF, methods="[student, kd]")
    plan = api.load_plan(path)
    options = ReportOptions(published=True)
    [table] = build.assemble(plan, Results(tmp_path / "results"), options).tables
    text = render(table, "md")
    assert "73.30" in text
    assert "only in a plot, so not shown: KD on wrn" in text
    [plain] = build.assemble(plan, Results(tmp_path / "results")).tables
    assert "only in a plot" not in render(plain, "md")


def test_only_published_numbers_are_those_of_the_suite_s_experiment():
    plan = api.load_plan("imagenet_crd")
    first, second = build.published_report(plan).tables
    assert (first.metric.name, second.metric.name) == ("top1", "top5")
    cells = {cell.method: cell.shown.mean for cell in first.cells}
    assert (cells["teacher"], cells["crd+kd"]) == (73.31, 71.38)
    assert str(first.caption).startswith("As published, not run here: CRD, Table 3 (n not stated)")
    assert build.published_report(plan, "top5").tables == (second,)
    probes = build.published_report(api.load_plan("transfer"), "probe.stl10.top1").tables[0]
    empty = [cell.name for cell in probes.cells if cell.shown is None]
    assert "vgg13/mobilenet_v2 fsp" in empty
    assert "only in a plot, so not shown: FSP on vgg13/mobilenet_v2" in probes.notes[-2].text
    metrics = {
        table.metric.name for table in build.published_report(api.load_plan("transfer")).tables
    }
    assert {"top1", "probe.stl10.top1", "probe.tiny.top1"} <= metrics
    with pytest.raises(BenchError, match="no published number of top1"):
        build.published_report(api.load_plan("small_ensemble"))
    with pytest.raises(BenchError, match="probe.stl10.top1"):
        build.published_report(plan, "probe.stl10.top1")


def test_quotations_and_other_mobilenets_are_doubtful():
    ttm = [line for line in lines() if (line.source, line.name) == ("TTM", "dkd")]
    [quoted] = [line for line in ttm if line.student == "ResNet-18"]
    assert quoted.doubt == "as quoted by TTM"
    mobile = [line for line in lines() if line.student == "MobileNet-V1"]
    assert all("plain MobileNet-V1" in line.doubt for line in mobile)


def test_the_named_source_survives_rendering_and_saving(tmp_path):
    keys = {"dataset": "cifar100", "pairs": "[{teacher: resnet20, student: resnet8}]"}
    path = toy.write(tmp_path, published="takd", options="", **keys)
    plan = api.load_plan(path)
    ids = list(plan.runs)
    (tmp_path / "plan.json").write_text(saved.dump(plan))
    assert saved.load(tmp_path / "plan.json")[0].suite.published == "takd"
    path.write_text(suite.render(plan.suite))
    assert suite.read(path).published == "takd"
    assert list(api.load_plan(toy.write(tmp_path, options="", **keys)).runs) == ids


def test_an_unknown_source_is_an_error_with_the_nearest_match(tmp_path):
    path = toy.write(tmp_path, published="torchdistil")
    with pytest.raises(ConfigError, match="published: .*torchdistil.*Allowed: crd, torchdistill"):
        suite.read(path)
