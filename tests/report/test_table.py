import random

import pytest
from report_factory import cells, probe_context, probe_entries, record, row, unfinished

from bench.errors import BenchError
from bench.report.build import table
from bench.report.model import Entry, Note, TableContext

ABOUT = TableContext("T")


def test_rows_are_teacher_student_methods_and_columns_the_pairs():
    result = table(reversed(probe_entries()), probe_context())
    assert [each.label for each in result.rows[:2]] == ["Teacher", "Student"]
    assert [each.label for each in result.rows[2:]] == ["DCD", "WCoRD", "CRD", "AT", "KD"]
    assert [(each.teacher, each.student) for each in table(probe_entries(), ABOUT).columns] == [
        ("WRN-40-2", "WRN-16-2"),
        ("resnet32x4", "ShuffleNetV2"),
    ]


def test_teacher_and_student_are_never_ranked():
    result = table(
        [
            *cells("t", [90.0, 90.0], role="teacher"),
            *cells("ce", [80.0, 80.0], role="student"),
            *cells("kd", [70.0, 70.0]),
            *cells("at", [71.0, 71.0]),
        ],
        ABOUT,
    )
    assert [each.cells[0].rank for each in result.rows] == [None, None, "second", "best"]


def test_marks_are_shared_by_equal_texts_and_explained_once():
    result = table(probe_entries(), probe_context())
    deviation = (
        "only 50 training images per class; recipe differs from the papers: epochs 30 (papers: 240)"
    )
    assert result.notes == (
        Note("†", deviation),
        Note("‡", "reconstruction"),
        Note("a", "skipped: AT needs as many stages in both, 3 and 4 found"),
        Note("b", "seed 2 diverged at epoch 12"),
        Note("c", "failed: OutOfMemoryError: 8 GiB"),
        Note("d", "missing: not run yet"),
        Note(
            "",
            "warning: 1 of 31 runs of resnet8 diverged with lr 0.05; "
            "try 0.01 in the recipe of its pair",
        ),
    )
    assert row(result, "wcord").mark == "‡"
    assert [each.mark for each in result.columns] == ["†", "†"]
    again = table([*cells("a", [None], [None]), *cells("b", [None], [None])], ABOUT)
    assert {each.mark for line in again.rows for each in line.cells} == {"a"}


def test_more_notes_than_letters_and_daggers():
    entries = [
        entry
        for n in range(28)
        for entry in cells(f"m{n}", [unfinished("r", 0, "failed", f"no {n}")], note=f"note {n}")
    ]
    marks = [each.mark for each in table(entries, ABOUT).notes]
    assert marks[:5] == ["†", "‡", "§", "¶", "††"]
    assert marks[28:30] == ["a", "b"]
    assert marks[-3:] == ["z", "aa", "ab"]
    assert len(set(marks)) == 56


def test_caption_states_data_recipe_seeds_and_versions():
    assert str(table(probe_entries(), probe_context()).caption) == (
        "A short recipe on a tenth of CIFAR-100: no number of a paper. "
        "Top-1 test accuracy of the last epoch (%; higher is better). "
        "CIFAR-100, only 50 training images per class. "
        "30 epochs, batch 64, lr 0.05 (0.01 for ShuffleNetV2). "
        "Mean ± standard deviation (n − 1) over n = 3 seeds (0, 1, 2); "
        "a different n is given in brackets. Teachers: n = 1. "
        "Cells with missing seeds are neither ranked nor tested. "
        "Run with torch 2.15.0; CPU x, 2 cores; float32. "
        "↑ better and ↓ worse than KD, by mean; * significant difference from KD "
        "(moderated t-tests over seeds, Holm-corrected over 6 comparisons, p < 0.05)."
    )


def test_caption_of_single_runs_states_no_standard_deviation():
    caption = str(table(cells("kd", [70.0]), ABOUT).caption)
    assert "Single runs (n = 1, seed 0), without a standard deviation." in caption
    assert "brackets" not in caption


def test_every_device_and_version_is_named():
    environment = {"torch": "2.14.0", "device": "NVIDIA H200", "precision": "bf16"}
    other = record("x", 1, 70.0).model_copy(update={"environment": environment})
    caption = str(table(cells("kd", [70.0, other]), ABOUT).caption)
    assert caption.endswith(
        "Run with torch 2.14.0 and 2.15.0; CPU x, 2 cores and NVIDIA H200; bf16 and float32."
    )


def test_table_without_finished_runs_states_it():
    result = table(cells("kd", [None, None], [None, None]), ABOUT)
    assert "No run has finished yet." in str(result.caption)
    assert "Run with" not in str(result.caption)
    assert not any(cell.rank for cell in result.cells)


@pytest.mark.parametrize("name", ["agreement", "kl"])
def test_a_teacher_does_not_agree_with_itself_in_a_row(name):
    entries = [
        *cells("t", [75.0], role="teacher"),
        *cells("kd", [1.0], metric=name),
        *cells("at", [2.0], metric=name),
    ]
    assert [each.name for each in table(entries, ABOUT, name).rows] == ["kd", "at"]


def test_metric_with_lower_is_better_is_ranked_from_below():
    entries = [*cells("kd", [1.1], metric="nll"), *cells("at", [1.2], metric="nll")]
    result = table(entries, ABOUT, "nll")
    assert "(nats; lower is better)" in str(result.caption)
    assert [each.cells[0].rank for each in result.rows] == ["best", "second"]


def test_best_on_test_appears_only_under_the_name_oracle():
    assert "Oracle: the best" in str(table(cells("kd", [70.0]), ABOUT, "oracle").caption)


def test_a_pair_with_a_name_of_its_own_shows_it():
    entries = [Entry(pair, "a", "b", "kd", 0, None) for pair in ("a/b", "a/b long")]
    assert [each.student for each in table(entries, ABOUT).columns] == ["b", "b (a/b long)"]


def test_two_plain_students_keep_their_own_labels():
    entries = [*cells("ce", [70.0], role="student"), *cells("ce long", [71.0], role="student")]
    assert [each.label for each in table(entries, ABOUT).rows] == ["ce", "ce long"]


def test_no_entry_and_no_such_metric_are_errors_for_the_user():
    with pytest.raises(BenchError, match="no run to report"):
        table([], ABOUT)
    with pytest.raises(BenchError, match=r"no metric 'top'\. Did you mean 'top[15]'\?"):
        table(cells("kd", [70.0]), ABOUT, "top")


def test_the_order_of_the_seeds_does_not_matter():
    shuffled = probe_entries()
    random.Random(0).shuffle(shuffled)
    order = {each.name: each for each in table(shuffled, probe_context()).rows}
    for each in table(probe_entries(), probe_context()).rows:
        expected = [cell.measured for cell in each.cells]
        shuffled_cells = {cell.pair: cell.measured for cell in order[each.name].cells}
        assert [shuffled_cells[cell.pair] for cell in each.cells] == expected
