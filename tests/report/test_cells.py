import numpy
import pytest
from report_factory import record, unfinished

from bench.report.comparison import compare_means, rank
from bench.report.labels import metric
from bench.report.model import Cell, Entry, Measured, MissingValue, cell


def entry(seed, result, role="method"):
    return Entry("a/b", "a", "b", "kd", seed, result, role=role)


def measured(*numbers):
    return Cell(measured=Measured.of(dict(enumerate(numbers))))


def test_cell_has_mean_and_unbiased_spread_in_the_order_of_the_seeds():
    numbers = {2: 73.1, 0: 74.7, 1: 72.2}
    outcome = cell([entry(s, record(f"r{s}", s, v)) for s, v in numbers.items()], "top1")
    assert list(outcome.measured.values.items()) == [(0, 74.7), (1, 72.2), (2, 73.1)]
    assert outcome.measured.mean == pytest.approx(numpy.mean([74.7, 72.2, 73.1]), abs=1e-12)
    assert outcome.measured.std == pytest.approx(numpy.std([74.7, 72.2, 73.1], ddof=1), abs=1e-12)
    assert outcome.status == "done"


def test_a_cell_has_each_metric_of_each_finished_run():
    runs = [entry(0, record("r0", 0, 70.0, nll=1.2)), entry(1, None)]
    outcome = cell(runs, "top1")
    assert (outcome.pair, outcome.method, outcome.runs) == ("a/b", "kd", ("r0",))
    values = {name: metric.values for name, metric in outcome.metrics.items()}
    assert values == {"top1": {0: 70.0}, "nll": {0: 1.2}, "oracle": {0: 70.5}}


def test_single_run_has_no_spread():
    outcome = cell([entry(0, record("r", 0, 70.0))], "top1").measured
    assert (outcome.mean, outcome.std, outcome.n, outcome.low) == (70.0, None, 1, None)


def test_one_teacher_for_all_seeds_counts_once():
    teacher = record("t", 0, 75.0, "teacher")
    outcome = cell([entry(seed, teacher, "teacher") for seed in (0, 1, 2)], "top1")
    assert outcome.measured.values == {0: 75.0}


def test_each_teacher_counts_if_seeds_have_different_ones():
    outcome = cell([entry(s, record(f"t{s}", s, 75.0 + s), "teacher") for s in (0, 1)], "top1")
    assert outcome.measured.values == {0: 75.0, 1: 76.0}


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        (None, "missing", "missing: not run yet"),
        (unfinished("r", 0, "skipped", "AT needs …"), "skipped", "skipped: AT needs …"),
        (unfinished("r", 0, "diverged", "diverged at epoch 12"),
         "diverged", "diverged at epoch 12"),
        (unfinished("r", 0, "failed", None), "failed", "failed"),
        (unfinished("r", 0, "failed", "out of\nmemory"), "failed", "failed: out of memory"),
        (unfinished("r", 0, "failed", "Traceback (most recent…):\n  File\nKeyError: 'x'\n"),
         "failed", "failed: KeyError: 'x'"),
        (record("r", 0, 1e30), "missing", "missing: the record has no top1"),
    ],
)  # fmt: skip
def test_missing_value_has_a_status_and_a_reason(result, status, reason):
    outcome = cell([entry(0, result)], "top1")
    assert (outcome.measured, outcome.missing) == (None, MissingValue(status, reason))


def test_partial_cell_keeps_its_values_and_names_the_missing_seeds():
    outcome = cell(
        [
            entry(0, record("r", 0, 70.0)),
            entry(1, None),
            entry(2, unfinished("d", 2, "diverged", "diverged at epoch 3")),
            entry(3, None),
        ],
        "top1",
    )
    assert outcome.measured == Measured.of({0: 70.0})
    assert outcome.missing == MissingValue(
        "diverged", "seeds 1 and 3 missing: not run yet; seed 2 diverged at epoch 3"
    )
    assert outcome.status == "partial"


def test_empty_cell_with_two_reasons_has_both_and_the_most_severe_status():
    outcome = cell([entry(0, unfinished("f", 0, "failed", "crash")), entry(1, None)], "top1")
    reason = "seed 0 failed: crash; seed 1 missing: not run yet"
    assert outcome.missing == MissingValue("failed", reason)


def test_oracle_is_the_best_epoch_on_test_and_top1_the_last():
    run = record("r", 0, 70.0)  # its best epoch: 70.5
    assert cell([entry(0, run)], "top1").measured == Measured.of({0: 70.0})
    assert cell([entry(0, run)], "oracle").measured == Measured.of({0: 70.5})


@pytest.mark.parametrize(
    ("name", "numbers", "ranks"),
    [
        ("top1", [70.0, 72.0, 71.0, 69.0], [None, "best", "second", None]),
        ("nll", [1.2, 1.0, 1.1, 1.3], [None, "best", "second", None]),
        ("top1", [72.001, 72.004, 71.0, 70.0], ["best", "best", "second", None]),  # print alike
        ("top1", [72.0, 71.001, 71.004, 70.0], ["best", "second", "second", None]),
        ("top1", [9.5, 10.5], ["second", "best"]),  # numbers, not strings
        ("kl", [0.1001, 0.1002], ["best", "second"]),
        ("top1", [70.0], [None]),
        ("top1", [70.0, 70.0], ["best", "best"]),
    ],
)
def test_ranks(name, numbers, ranks):
    column = rank([measured(number) for number in numbers], metric(name))
    assert [each.rank for each in column] == ranks


def test_cells_with_missing_seeds_are_not_ranked():
    missing = MissingValue("diverged", "diverged at epoch 1")
    partial = Cell(measured=Measured.of({0: 99.0}), missing=missing)
    column = [Cell(missing=missing), partial, measured(70.0), measured(71.0)]
    assert [each.rank for each in rank(column, metric("top1"))] == [None, None, "second", "best"]


def test_means_are_compared_as_printed():
    column = [measured(70.0), measured(70.004), measured(70.01), measured(69.9)]
    compared = compare_means(column, column[0], metric("top1"))
    assert [each.versus for each in compared] == [None, None, "better", "worse"]
    lower = compare_means(column, column[0], metric("nll"))
    assert [each.versus for each in lower] == [None, "worse", "worse", "better"]
