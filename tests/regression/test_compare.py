"""Two results folders side by side."""

from bench import regression
from tests.regression.factory import RECIPE, record, teacher, unfinished


def folder(first=0, **methods):
    """The records of a folder: for each method its accuracies."""
    result = [
        record(method=name, seed=seed, top1=value)
        for name, values in methods.items()
        for seed, value in enumerate(values, first)
    ]
    return [teacher(), *result]


A = folder(kd=[96.0, 96.1, 95.9, 96.0], crd=[97.0, 97.1, 96.9, 97.0], at=[95.0, 95.1, 94.9, 95.0])


def by_method(result):
    return {cell.method: cell.outcome for cell in result.cells}


def test_cells_are_better_same_worse_or_uncompared():
    b = folder(
        9,
        kd=[97.0, 97.1, 96.9, 97.0],
        crd=[95.0, 95.1, 94.9, 95.0],
        at=[95.05, 95.0, 95.1, 94.95],
        sp=[95.0, 95.0],
    )
    result = regression.compare(A, b, tolerance=0.5, names=("old", "new"))
    assert by_method(result) == {
        "teacher": "same", "at": "same", "crd": "worse", "kd": "better", "sp": "uncompared",
    }  # fmt: skip
    assert result.cells[-1].reason == "not in old"
    assert (result.outcome, result.exit_code(), result.exit_code(strict=True)) == ("compared", 0, 1)


def test_wide_spread_is_inconclusive_with_the_number_of_seeds_needed():
    b = folder(9, kd=[95.0, 97.2, 96.0, 96.6])
    result = regression.compare(A, b)
    cell = next(cell for cell in result.cells if cell.method == "kd")
    assert cell.outcome == "inconclusive"
    assert cell.seeds_needed > 4
    assert "a difference of more than 0.5 points is not ruled out" in cell.reason


def test_folder_compared_with_itself_is_the_same():
    result = regression.compare(A, A, tolerance=0.0)
    assert set(by_method(result).values()) == {"same"}


def test_cells_of_equal_setting_match_first_and_another_setting_is_noted():
    longer = {"recipe": {**RECIPE, "epochs": 40}}
    extra = [
        record(seed=seed, top1=98.0 + seed / 10, of=longer, run=f"long {seed}") for seed in range(3)
    ]
    both = regression.compare(A, [*extra, *A])
    assert by_method(both)["kd"] in ("same", "uncompared")
    assert [cell.outcome for cell in both.cells if cell.method == "kd"] == ["same", "uncompared"]
    [only] = [cell for cell in regression.compare(A, extra).cells if cell.method == "kd"]
    assert only.outcome == "better"
    assert only.notes == ("another setting: recipe.epochs 20 → 40",)


def test_failed_run_is_uncompared_with_its_reason():
    torn = [*A[:-1], unfinished("failed", "boom", method="at", seed=3)]
    result = regression.compare(A, torn, names=("old", "new"))
    cell = next(cell for cell in result.cells if cell.method == "at")
    assert (cell.outcome, cell.reason) == ("uncompared", "in new: seed 3 failed: boom")


def test_nothing_in_common_is_wrong_use():
    result = regression.compare(folder(kd=[1.0, 2.0])[1:], folder(crd=[1.0, 2.0])[1:])
    assert result.exit_code() == 2


def test_empty_folders():
    assert regression.compare([], []).exit_code() == 2
