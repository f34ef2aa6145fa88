"""Rows of controls in tables, and the notes that compare the methods with them."""

from bench.report import build
from bench.report.model import Entry, Table
from tests.report.report_factory import cells, near, probe_context, render, row


def entries() -> list[Entry]:
    return [
        *cells("ce", near(73.0), near(73.0), role="student", label="Student"),
        *cells("kd", near(75.0), near(75.0), label="KD"),
        *cells("crd", near(77.0, (0.0, 0.02, -0.02)), near(76.1, (0.3, -0.2, 0.0)), label="CRD"),
        *cells("at", near(74.0), near(77.0, (3.0, -3.0, 0.1)), label="AT"),
        *cells("ls", near(74.5), near(76.0), role="control", label="Control: LS"),
        *cells("longer", near(75.5), [73.0, 73.1, None], role="control", label="Control: longer"),
    ]


def made(metric: str = "top1") -> Table:
    return build.table(entries(), probe_context(), metric)


def texts(table: Table) -> list[str]:
    return [note.text for note in table.notes if "ontrols" in note.text]


def test_notes_count_the_methods_above_every_control() -> None:
    first, second, test = texts(made())
    assert first == (
        "Controls of WRN-40-2 → WRN-16-2: LS 74.50 ± 0.02 (2 of 3 methods better); longer 75.50 ± "
        "0.02 (1 of 3 methods better). Of 3 methods, 1 is better than every control by mean (CRD), "
        "1 significantly (CRD)."
    )
    assert "longer (seed 2 missing: not run yet). Of 3 methods, 2" in second
    assert second.endswith("are better than every control by mean (CRD and AT), 0 significantly.")
    assert test == (
        "Controls: the tests of this table, Holm-corrected over 9 comparisons, p < 0.05 against "
        "each control."
    )


def test_controls_are_not_ranked_and_change_no_comparison_of_methods() -> None:
    table = made()
    without = build.table([e for e in entries() if e.role != "control"], probe_context())
    for name in ("ce", "kd", "crd", "at"):
        assert row(table, name).cells == row(without, name).cells
    for cell in row(table, "ls").cells:
        assert (cell.rank, cell.versus, cell.comparison) == (None, None, None)
    statistics = render(table, "txt", "statistics")
    assert statistics.count("control: see the notes of the table") == 4
    lines = [line.split("  ")[0] for line in render(table, "txt").splitlines()]
    assert lines.index("Control: LS") < lines.index("KD")


def test_lower_is_better_for_nll_and_agreement_is_not_compared() -> None:
    assert "Of 3 methods, 0 are better" in texts(build.table([
        *cells("kd", [0.9] * 3, [0.9] * 3, metric="nll"),
        *cells("at", [0.9] * 3, [0.9] * 3, metric="nll"),
        *cells("crd", [0.8] * 3, [0.8] * 3, metric="nll"),
        *cells("ls", [0.7] * 3, [0.7] * 3, metric="nll", role="control"),
    ], probe_context(), "nll"))[0]  # fmt: skip
    agreement = [
        *cells("kd", [90.0] * 3, [90.0] * 3, metric="agreement"),
        *cells("ls", [90.0] * 3, [90.0] * 3, metric="agreement", role="control"),
    ]
    assert texts(build.table(agreement, probe_context(), "agreement")) == []


def test_the_agreement_floor_counts_methods_above_it() -> None:
    runs = [
        *cells("kd", [90.0] * 3, [90.0] * 3, label="KD", metric="agreement"),
        *cells("at", [80.0] * 3, [90.0] * 3, label="AT", metric="agreement"),
        *cells("ls", [90.0] * 3, [90.0] * 3, metric="agreement", role="control"),
    ]
    for entry in runs:
        assert entry.record is not None
        entry.record.metrics["last"]["agreement_floor"] = 85.0
    notes = [n.text for n in build.table(runs, probe_context(), "agreement").notes]
    assert notes[-2] == (
        "Agreement floor of WRN-40-2 → WRN-16-2: two seeds of one method agree on 85.00 to 85.00 % "
        "of the test images; 1 of 2 methods agree with the teacher more than their own seeds with "
        "each other (KD)."
    )
    assert "resnet32x4 → ShuffleNetV2" in notes[-1]
    assert notes[-1].endswith("(KD and AT).")
