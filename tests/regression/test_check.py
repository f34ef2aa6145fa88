"""What the gate says of a rerun: regression, pass, inconclusive, or that it cannot say."""

from dataclasses import replace

import pytest

from bench import regression
from bench.errors import BenchError
from tests.regression.factory import (
    DATA,
    RECIPE,
    entries,
    entry,
    generator,
    record,
    suite,
    unfinished,
)

SOLID = {
    "student": [95.0, 95.2, 94.9, 95.1, 95.0],
    "kd": [96.0, 96.1, 95.8, 96.2, 95.9],
    "crd": [97.1, 96.9, 97.0, 97.3, 96.8],
}


def moved(method, by, first=5, spread=1.0):
    """A rerun with other seeds, in other order, one method of it moved."""
    return list(
        entries(
            {
                name: [
                    96 + spread * (value - 96) + (by if name == method else 0.0)
                    for value in reversed(values)
                ]
                for name, values in SOLID.items()
            },
            first=first,
        )
    )


def baseline():
    return regression.baseline(list(entries(SOLID)), "quickstart")


def outcomes(result):
    return {cell.method: cell.outcome for cell in result.cells}


def changed(result, method, change):
    """The entries with the records of one method replaced by what `change` makes of each."""
    return [
        replace(each, record=change(each))
        if each.method == method and each.role != "teacher"
        else each
        for each in result
    ]


def test_an_identical_rerun_passes_without_statistics():
    result = regression.check(list(entries(SOLID)), baseline(), tolerance=0.0)
    assert outcomes(result) == dict.fromkeys(SOLID, "pass")
    assert {cell.reason for cell in result.cells} == {"bit-for-bit identical"}
    assert {cell.p for cell in result.cells} == {None}
    assert result.exit_code(strict=True) == 0


def test_the_same_accuracies_from_other_computations_are_not_identical():
    """Coarse accuracies agree by chance; the loss on the test set tells."""
    rerun = list(entries(SOLID, nll=0.5))
    result = regression.check(rerun, baseline(), tolerance=0.5)
    assert outcomes(result) == dict.fromkeys(SOLID, "pass")
    assert all(cell.p is not None for cell in result.cells)


def test_a_planted_loss_is_a_regression_and_the_cell_is_named():
    result = regression.check(moved("kd", -2.0), baseline())
    assert outcomes(result) == {"student": "pass", "kd": "regression", "crd": "pass"}
    [cell] = result.named("regression")
    assert cell.name == "resnet8x4/resnet8 kd"
    assert cell.change == pytest.approx(-2.0)
    assert cell.low < -2.0 < cell.high < 0
    assert (result.exit_code(), result.exit_code(strict=True)) == (1, 1)


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_two_points_lost_with_a_spread_of_0_3_are_caught_among_14_cells(seeds):
    caught = []
    for trial in range(20):
        rng = generator(100 * seeds + trial)
        base = regression.baseline(suite(rng, seeds=seeds), "quickstart")
        result = regression.check(suite(rng, seeds=seeds, means={"crd": -2.0}, first=9), base)
        caught.append([cell.method for cell in result.named("regression")] == ["crd"])
    assert sum(caught) >= 19


def test_twenty_honest_reruns_raise_no_more_alarms_than_promised():
    """5 % of 20 is one; four would happen with a chance of 1.6 % if the promise holds."""
    rng = generator(7)
    base = regression.baseline(suite(rng), "quickstart")
    result = [regression.check(suite(rng, first=3 * i + 3), base, tolerance=0.1) for i in range(20)]
    assert sum(each.exit_code() == 1 for each in result) <= 3


def test_insignificant_loss_is_inconclusive_with_the_number_of_seeds_needed():
    result = regression.check(moved("kd", -0.8, spread=7), baseline())
    cell = next(cell for cell in result.cells if cell.method == "kd")
    assert cell.outcome == "inconclusive"
    assert "worse by 0.80 points, not significant (p = " in cell.reason
    assert cell.seeds_needed > 5
    assert f"about {cell.seeds_needed} seeds per side would decide it" in cell.reason
    assert "if the true loss is as measured" in cell.reason


def test_a_loss_within_the_tolerance_passes_only_if_more_is_ruled_out():
    near = regression.check(moved("kd", -0.45), baseline())
    cell = next(cell for cell in near.cells if cell.method == "kd")
    assert cell.outcome == "inconclusive"
    assert "a significant loss that may exceed 0.5 points" in cell.reason
    assert (near.exit_code(), near.exit_code(strict=True)) == (0, 4)
    wide = regression.check(moved("kd", -0.45), baseline(), tolerance=1)
    assert outcomes(wide)["kd"] == "pass"


def test_a_tolerance_of_zero_can_fail_but_never_be_shown():
    result = regression.check(moved("kd", 0.0), baseline(), tolerance=0.0)
    cell = next(cell for cell in result.cells if cell.method == "kd")
    assert cell.outcome == "inconclusive"
    assert cell.reason.endswith("with a tolerance of 0 no number of seeds can rule out a loss")
    assert cell.seeds_needed is None


def test_less_is_better_for_losses_and_calibration():
    lower = changed(moved("kd", 0.0), "kd", lambda each: record(seed=each.seed, nll=0.5))
    for metric, worse in (("nll", "regression"), ("top1", "pass")):
        result = regression.check(
            lower, baseline(), metric, tolerance=0.1 if metric == "nll" else 3
        )
        assert outcomes(result)["kd"] == worse
    [cell] = regression.check(lower, baseline(), "nll", 0.1).named("regression")
    assert cell.low < cell.change < cell.high
    better = changed(moved("kd", 0.0), "kd", lambda each: record(seed=each.seed, nll=0.1))
    assert outcomes(regression.check(better, baseline(), "nll", 0.1))["kd"] == "pass"


@pytest.mark.parametrize(("before", "now"), [(1, 5), (5, 1), (1, 1)])
def test_single_seeds_are_never_compared(before, now):
    base = regression.baseline(list(entries({"kd": SOLID["kd"][:before]})), "quickstart")
    result = regression.check(
        list(entries({"kd": [90.0, 90.1, 90.2, 90.0, 90.1][:now]}, first=9)), base
    )
    [cell] = result.cells
    assert cell.outcome == "inconclusive"
    assert cell.reason.startswith("not tested: n = ")
    assert f"n = {before} before and {now} now" in cell.reason


def test_a_single_seed_that_is_identical_bit_for_bit_passes():
    base = regression.baseline(list(entries({"kd": [96.0]})), "quickstart")
    assert outcomes(regression.check(list(entries({"kd": [96.0]})), base)) == {"kd": "pass"}


def test_two_seeds_without_any_spread_are_no_proof():
    base = regression.baseline(
        list(entries({"kd": [96.0, 96.0], "crd": [96.4, 96.8]})), "quickstart"
    )
    rerun = list(entries({"kd": [95.6, 95.6], "crd": [96.8, 96.4]}, first=4))
    result = regression.check(rerun, base, tolerance=0.1)
    assert outcomes(result)["kd"] == "inconclusive"
    assert result.cells[0].p > 0.05


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        ("failed", "OutOfMemoryError", "failed"),
        ("diverged", "diverged at epoch 3", "failed"),
        ("skipped", "AT needs as many stages", "failed"),
    ],
)
def test_a_run_without_a_result_is_named_and_costs_exit_code_3(status, reason, outcome):
    torn = changed(
        moved("", 0.0),
        "crd",
        lambda each: unfinished(status, reason) if each.seed == 6 else each.record,
    )
    result = regression.check(torn, baseline())
    assert outcomes(result)["crd"] == outcome
    assert reason in result.named(outcome)[0].reason
    assert result.exit_code() == 3
    assert outcomes(result)["kd"] == "pass"


def test_a_run_that_was_not_run_is_missing_and_a_regression_weighs_more():
    torn = changed(moved("kd", -2), "crd", lambda each: None)
    result = regression.check(torn, baseline())
    assert outcomes(result) == {"student": "pass", "kd": "regression", "crd": "missing"}
    assert result.exit_code() == 1
    assert (
        regression.check(changed(moved("", 0), "crd", lambda each: None), baseline()).exit_code()
        == 3
    )


def test_cell_that_was_impossible_before_may_be_skipped_now():
    torn = changed(list(entries(SOLID)), "crd", lambda each: unfinished("skipped", "too wide"))
    base = regression.baseline(torn, "quickstart")
    assert base.problems == ()
    result = regression.check(torn, base)
    assert outcomes(result)["crd"] == "skipped"
    assert result.exit_code(strict=True) == 0
    revived = regression.check(list(entries(SOLID)), base)
    assert outcomes(revived)["crd"] == "uncompared"


def test_baseline_lists_its_missing_results():
    torn = changed(list(entries(SOLID)), "crd", lambda each: None if each.seed else each.record)
    [trouble] = regression.baseline(torn, "quickstart").problems
    assert trouble.startswith("resnet8x4/resnet8 crd: seeds 1, 2, 3 and 4 missing")


def test_a_cell_that_left_the_suite_is_missing_unless_only_a_part_was_asked_for():
    part = [each for each in moved("", 0.0) if each.method in ("kd", "teacher")]
    full = regression.check(part, baseline())
    assert outcomes(full) == {"kd": "pass", "student": "missing", "crd": "missing"}
    assert full.exit_code() == 3
    some = regression.check(part, baseline(), complete=False)
    assert outcomes(some) == {"kd": "pass"}
    assert some.exit_code() == 0


def test_new_cell_is_uncompared_and_nothing_compared_is_wrong_use():
    new = list(entries({"dcd": SOLID["kd"]}))
    result = regression.check([*moved("", 0.0), *new], baseline())
    assert outcomes(result)["dcd"] == "uncompared"
    assert result.exit_code() == 0
    nothing = regression.check(new, baseline(), complete=False)
    assert (nothing.outcome, nothing.exit_code()) == ("nothing compared", 2)


def test_a_changed_recipe_is_named_and_strictness_does_not_accept_it():
    other = {"recipe": {**RECIPE, "epochs": 30, "milestones": [20]}, "data": DATA}
    result = regression.check(
        list(entries({"kd": SOLID["kd"]}, first=5, of=other)), baseline(), complete=False
    )
    [cell] = result.cells
    assert cell.outcome == "pass"
    [note] = cell.notes
    assert "recipe.epochs 20 → 30" in note
    assert "recipe.milestones 12/15/18 → 20" in note
    assert (result.exit_code(), result.exit_code(strict=True)) == (0, 4)


def test_changed_weights_options_and_teachers_are_named():
    terms = {
        "ce": {"weight": 0.1, "options": {}},
        "kd": {"weight": 0.5, "options": {"temperature": 2.0}},
    }
    rerun = [
        entry(record(seed=seed, top1=96.0 + seed / 10, of={"method": terms}), seed=seed)
        for seed in range(5, 9)
    ]
    [cell] = regression.check(rerun, baseline(), complete=False).cells
    assert cell.notes == ("another setting: kd.weight 0.9 → 0.5, kd.temperature 4 → 2",)


def test_another_teacher_for_all_seeds_is_noted_but_is_no_other_setting():
    theirs = {"teacher": {"id": "t", "network": "n", "sha256": "aa" * 32, "top1": 98.0}}
    rerun = list(entries({"kd": SOLID["kd"]}, first=5, **theirs))
    result = regression.check(rerun, baseline(), complete=False)
    [cell] = result.cells
    assert cell.notes[0].startswith("another teacher's weights")
    assert result.exit_code(strict=True) == 0


def test_seeds_ids_and_names_are_no_setting():
    result = regression.check(moved("", 0.0), baseline())
    assert {cell.notes for cell in result.cells} == {()}
    assert result.notes == ()


def test_another_machine_is_noted():
    other = {"environment": {"torch": "2.16.0", "device": "CPU x", "commit": "0123456"}}
    result = regression.check(list(entries(SOLID, first=5, **other)), baseline())
    assert result.notes == ("torch: 2.15.0, now 2.15.0 and 2.16.0",)  # the teacher is older


@pytest.mark.parametrize("metric", ["top5", "top-1"])
def test_unknown_metric_error_lists_the_available_ones(metric):
    with pytest.raises(BenchError, match=f"no metric '{metric}'"):
        regression.check(moved("", 0), baseline(), metric)


def test_tolerances_are_checked_and_have_a_unit():
    with pytest.raises(BenchError, match="tolerance -1. Allowed: a number in %, 0 or more"):
        regression.check(moved("", 0), baseline(), tolerance=-1)
    with pytest.raises(
        BenchError, match="nll: no default tolerance. Allowed: --tolerance with a number of nats"
    ):
        regression.check(moved("", 0), baseline(), "nll")
    assert regression.check(moved("", 0), baseline()).tolerance == 0.5


def test_teachers_are_not_cells():
    assert "teacher" not in outcomes(regression.check(moved("", 0), baseline()))


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_a_value_beyond_the_maximum_is_missing(value):
    wild = changed(
        list(entries(SOLID)), "kd", lambda each: record(seed=each.seed, top1=value, nll=1)
    )
    result = regression.check(wild, baseline())
    assert outcomes(result) == {"student": "pass", "kd": "missing", "crd": "pass"}
    assert result.exit_code() == 3
    assert regression.baseline(wild, "quickstart").problems == (
        "resnet8x4/resnet8 kd: missing: the record has no top1",
    )
