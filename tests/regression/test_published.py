"""Records held to the papers' numbers, and to no others."""

from dataclasses import replace

import pytest
from scipy import stats

from bench import regression
from bench.stats.estimates import skewness
from tests.regression.factory import entry, record

PAIR = ("wrn_40_2", "wrn_16_2")
DATA = {
    "name": "cifar100", "per_class": None, "test_per_class": None, "validation": 0, "size": None,
    "fingerprint": "md5:eb9058c3a382ffc7106e4002c42a8d85",
}  # fmt: skip
RECIPE = {
    "epochs": 240, "batch_size": 64, "lr": 0.05, "milestones": [150, 180, 210], "decay": 0.1,
    "momentum": 0.9, "weight_decay": 0.0005, "nesterov": False, "crop": 4, "flip": True,
    "resized_crop": False, "precision": "float32", "evaluate_every": 1,
}  # fmt: skip
KD = {"ce": {"weight": 0.1, "options": {}}, "kd": {"weight": 0.9, "options": {"temperature": 4.0}}}
DCD = {"ce": {"weight": 1.0, "options": {}}, "dcd": {"weight": 1.0, "options": {}}}
CE = {"ce": {"weight": 1.0, "options": {}}}
PAPERS = {"kd": KD, "dcd": DCD, "student": CE}


def cell(method, values, *, pair=PAIR, terms=None, data=DATA, recipe=RECIPE):
    of = {"data": data, "recipe": recipe, "method": terms or PAPERS.get(method, KD)}
    return [
        entry(record(pair, method, seed, value, of=of), pair, method, seed)
        for seed, value in enumerate(values)
    ]


def item(entries, **more):
    [result] = regression.against_published(entries, PAPERS, "mine", **more).cells
    return result


def test_a_rerun_near_the_paper_passes_and_one_far_below_does_not():
    near, far = [74.9, 75.1, 74.8, 75.0, 74.7], [73.0, 73.2, 72.9, 73.1, 73.0]
    result = item(cell("kd", near))
    assert (result.before.mean, result.before.std, result.before.n) == (74.92, 0.28, 5)
    assert result.outcome == "pass"
    assert item(cell("kd", far)).outcome == "regression"
    verdicts = regression.against_published(cell("kd", far), PAPERS, "mine")
    assert verdicts.exit_code() == 1
    assert item(cell("kd", [76.0, 76.2, 76.1])).outcome == "pass"


def test_cross_style_means_are_of_three_runs():
    pair = ("resnet50", "vgg8")
    result = item(cell("kd", [73.8, 73.9, 73.7], pair=pair))
    assert (result.before.mean, result.before.std, result.before.n) == (73.81, 0.13, 3)


def test_a_number_without_a_spread_is_one_run_with_our_noise():
    values = [74.9, 75.1, 74.8, 75.0, 74.7]
    result = item(cell("dcd", values))
    assert (result.before.mean, result.before.std) == (74.99, None)
    # s √(1 + 1/n) t(0.95, 4) without the allowance for skewed noise
    reach = 0.158114 * (6 / 5) ** 0.5 * 2.131847
    assert reach < result.high - result.change < 1.4 * reach
    shape = 4 / float(skewness(1, 5)) ** 2
    tail = stats.norm.sf((stats.gamma.isf(0.05, shape) - shape) / shape**0.5)
    reach *= stats.t.isf(tail, 4) / 2.131847
    assert result.high - result.change == pytest.approx(reach, rel=1e-4)
    assert item(cell("dcd", [v - 3 for v in values])).outcome == "regression"
    assert "seeds" not in item(cell("dcd", [v - 0.4 for v in values])).reason


def test_plain_student_is_matched_by_its_role():
    entries = [replace(each, role="student") for each in cell("net", [73.2, 73.3, 73.1], terms=CE)]
    assert item(entries).before.mean == 73.26


def test_a_single_seed_is_no_reproduction():
    assert item(cell("kd", [74.9])).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {**RECIPE, "epochs": 12}}, "epochs 12 (papers: 240)"),
        ({"data": {**DATA, "per_class": 50}}, "only 50 training images per class"),
        ({"data": {**DATA, "name": "digits"}}, "trained on digits; the papers' tables"),
        (
            {"terms": {**KD, "kd": {"weight": 0.5, "options": {"temperature": 4.0}}}},
            "kd 0.5 (papers: 0.9)",
        ),
        ({"pair": ("resnet50", "resnet8")}, "no published number found for this"),
    ],
)
def test_cell_that_differs_from_the_papers_is_uncompared_with_a_reason(change, message):
    result = item(cell("kd", [74.9, 75.1, 74.8], **change))
    assert result.outcome == "uncompared"
    assert message in result.reason
    verdicts = regression.against_published(cell("kd", [1.0, 2.0], **change), PAPERS, "mine")
    assert verdicts.exit_code() == 2


def test_missing_runs_are_missing():
    verdicts = regression.against_published([entry(None, PAIR)], PAPERS, "mine")
    assert verdicts.exit_code() == 3
