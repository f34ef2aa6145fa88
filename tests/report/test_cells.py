import numpy
import pytest
from report_factory import record, unfinished

from bench.report.cells import Cell, Entry, Hole, Measured, cell
from bench.report.ranking import compared, ranked
from bench.report.wording import metric


def entry(seed, found, role="method"):
    return Entry("a/b", "a", "b", "kd", seed, found, role=role)


def measured(*values):
    return Cell(Measured(values, tuple(range(len(values)))))


def test_mean_and_unbiased_spread_over_the_seeds_in_their_order():
    values = {2: 73.1, 0: 74.7, 1: 72.2}
    found = cell([entry(seed, record(f"r{seed}", seed, v)) for seed, v in values.items()], "top1")
    assert found.measured is not None
    assert found.measured.seeds == (0, 1, 2)
    assert found.measured.values == (74.7, 72.2, 73.1)
    assert found.measured.mean == pytest.approx(numpy.mean([74.7, 72.2, 73.1]), abs=1e-12)
    assert found.measured.std == pytest.approx(numpy.std([74.7, 72.2, 73.1], ddof=1), abs=1e-12)
    assert found.status == "done"


def test_a_single_run_has_no_spread():
    assert cell([entry(0, record("r", 0, 70.0))], "top1").measured == Measured((70.0,), (0,))
    assert Measured((70.0,), (0,)).std is None


def test_one_teacher_for_all_seeds_counts_once():
    one = record("t", 0, 75.0)
    found = cell([entry(seed, one, "teacher") for seed in (0, 1, 2)], "top1")
    assert found.measured == Measured((75.0,), (0,))


def test_teachers_of_their_own_count_each():
    found = cell([entry(s, record(f"t{s}", s, 75.0 + s), "teacher") for s in (0, 1)], "top1")
    assert found.measured == Measured((75.0, 76.0), (0, 1))


@pytest.mark.parametrize(
    ("found", "hole"),
    [
        (None, Hole("missing", "missing: not run yet")),
        (unfinished("r", 0, "skipped", "AT needs …"), Hole("skipped", "skipped: AT needs …")),
        (unfinished("r", 0, "diverged", "diverged at epoch 12"),
         Hole("diverged", "diverged at epoch 12")),
        (unfinished("r", 0, "failed", None), Hole("failed", "failed")),
        (unfinished("r", 0, "failed", "out of\nmemory"), Hole("failed", "failed: out of memory")),
        (unfinished("r", 0, "failed", "Traceback (most recent…):\n  File\nKeyError: 'x'\n"),
         Hole("failed", "failed: KeyError: 'x'")),
        ({"status": "done", "metrics": {"last": {"top1": None}}},
         Hole("missing", "missing: the record has no top1")),
        ({"status": "done", "metrics": {"last": {"top1": float("nan")}}},
         Hole("missing", "missing: the record has no top1")),
    ],
)  # fmt: skip
def test_a_hole_says_why(found, hole):
    assert cell([entry(0, found)], "top1") == Cell(None, hole)


def test_a_partial_cell_keeps_its_values_and_names_the_absent_seeds():
    found = cell(
        [
            entry(0, record("r", 0, 70.0)),
            entry(1, None),
            entry(2, unfinished("d", 2, "diverged", "diverged at epoch 3")),
            entry(3, None),
        ],
        "top1",
    )
    assert found.measured == Measured((70.0,), (0,))
    assert found.hole == Hole(
        "diverged", "seeds 1 and 3 missing: not run yet; seed 2 diverged at epoch 3"
    )
    assert found.status == "partial"


def test_an_empty_cell_with_two_reasons_tells_both_and_has_the_gravest_status():
    found = cell([entry(0, unfinished("f", 0, "failed", "crash")), entry(1, None)], "top1")
    assert found == Cell(None, Hole("failed", "seed 0 failed: crash; seed 1 missing: not run yet"))


def test_a_pair_that_the_suite_does_not_ask_for_is_a_hole():
    assert cell([], "top1").status == "missing"


def test_oracle_is_the_best_on_test_and_top1_is_the_last_epoch():
    one = record("r", 0, 70.0)  # its best epoch: 70.5
    assert cell([entry(0, one)], "top1").measured == Measured((70.0,), (0,))
    assert cell([entry(0, one)], "oracle").measured == Measured((70.5,), (0,))


@pytest.mark.parametrize(
    ("name", "values", "ranks"),
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
def test_ranks(name, values, ranks):
    found = ranked([measured(value) for value in values], metric(name))
    assert [one.rank for one in found] == ranks


def test_holes_and_survivors_are_not_ranked():
    hole = Hole("diverged", "diverged at epoch 1")
    column = [Cell(None, hole), Cell(Measured((99.0,), (0,)), hole), measured(70.0), measured(71.0)]
    assert [one.rank for one in ranked(column, metric("top1"))] == [None, None, "second", "best"]


def test_compared_with_a_reference_by_what_is_printed():
    column = [measured(70.0), measured(70.004), measured(70.01), measured(69.9)]
    found = compared(column, column[0], metric("top1"))
    assert [one.versus for one in found] == [None, None, "better", "worse"]
    lower = compared(column, column[0], metric("nll"))
    assert [one.versus for one in lower] == [None, "worse", "worse", "better"]
