"""The report card: committed records, records of two machines, and a suite with everything."""

import re
from pathlib import Path

import pytest

from bench.report import build
from bench.report.checklist import checklist, render, write
from bench.report.document import Document
from bench.results import Results
from tests import toy
from tests.command import bench
from tests.records import ENVIRONMENT, make_record

QUICKSTART = Path("results/quickstart")


def card(folder: Path, records: dict[str, dict[str, object]], **lines: str) -> Document:
    """Return the report card of the toy suite, with records of given fields by method."""
    plan, results = toy.plan(folder, **lines), Results(folder / "results")
    names = {cell.run: cell.method.name for cell in plan.cells}
    for run in plan.runs.values():
        fields = records.get(names.get(run.id, "teacher"), {})
        spec = run.specification
        record = make_record(run.id, spec.seed, kind=run.kind, **fields)
        results.write(record.model_copy(update={"specification": spec}))
    return checklist(plan, results, build.assemble(plan, results).tables)


def answers(document: Document, section: int = 0) -> dict[str, str]:
    rows = document.sections[section].rows
    texts = (["".join(span.text for span in cell.text) for cell in row.cells] for row in rows)
    return {first: " | ".join(rest) for first, *rest in texts}


def test_the_card_of_the_committed_quickstart(tmp_path: Path) -> None:
    arguments = ("quickstart", "--results", QUICKSTART, "--output", tmp_path)
    assert "Not tuned by this suite" in bench("report", *arguments, "--checklist").stdout
    text = (tmp_path / "quickstart-checklist.md").read_text()
    for expected in (
        "| Epoch | Every number is of the last epoch; no epoch was chosen.",
        "n = 3 seeds (0, 1, 2) of each of 14 methods on 1 pair. 1 teacher done and 42 students",
        "320 training images of 10 classes, 900 test images",
        "None: no epoch, seed, weight or option was chosen on test images",
        "Method AT: settings differ from the papers: at 62.5 (papers: 1000)",
        "98.22", "1aaecb56b2a8f7e7", "| torch | 2.15.0+cu132 |", "781,952",
    ):  # fmt: skip
        assert expected in text
    for name in ("quickstart-checklist.md", "quickstart-checklist.tex"):
        assert (tmp_path / name).read_text() == (QUICKSTART / name).read_text()
    tex = (tmp_path / "quickstart-checklist.tex").read_text()
    assert tex.count(r"\begin{table}") == 4
    assert tex.count(r"\begin{table*}") == 1  # too wide for a column
    assert r"\begin{itemize}" not in tex  # LaTeX refuses an empty list


def test_all_values_of_two_machines_are_listed(tmp_path: Path) -> None:
    gpu = {"environment": {**ENVIRONMENT, "device": "NVIDIA H100", "torch": "2.16.0"}}
    result = card(tmp_path, {"kd": {**gpu, "seconds": 3.0}})
    machines = answers(result, 2)
    assert machines["Device"] == "CPU x, 2 cores (2 runs); NVIDIA H100 (1 run)"
    assert machines["torch"] == "2.15.0 (2 runs); 2.16.0 (1 run)"
    assert machines["Precision"] == "float32"
    assert answers(result, 4)["KD"] == "NVIDIA H100 | 1 | 3.0 | 3.0"
    assert "2.15.0 (2 runs); 2.16.0 (1 run)" in render(result, "md")


def test_teachers_with_two_sets_of_weights_are_listed_twice(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    id = plan.cells[0].teacher
    taught = {"id": id, "network": "resnet8", "sha256": "ab" * 32, "top1": 91.0}
    other = {**taught, "sha256": "cd" * 32, "top1": 90.0}
    own = {"weights": "ab" * 32, "metrics": {"last": {"top1": 91.0}}}
    taught_by = {"student": {"teacher": taught}, "kd": {"teacher": other}}
    text = render(card(tmp_path, {"teacher": own, **taught_by}), "txt")
    assert re.search(rf"trained for 1 epoch +0 +91.00 +(ab){{8}} +{id}", text)
    assert re.search(rf"as its students' records name it +90.00 +(cd){{8}} +{id}", text)


def test_failures_and_choices_on_test_images_are_stated(tmp_path: Path) -> None:
    failed = {"status": "failed", "reason": "Traceback:\n  x\nOutOfMemoryError: 8 GiB"}
    shared = {"data": {"test_images_in_train": 3}}
    result = card(tmp_path, {"kd": failed, "student": shared}, evaluate="{calibration: true}")
    text = answers(result)
    reason = "Failed: OutOfMemoryError: 8 GiB (resnet8/resnet8 kd seed 0)"
    assert text["Missing results"] == f"{reason}."
    assert text["Choices on test images"].startswith("One: the temperature of ece_scaled")
    assert text["Choices on test images"].endswith("3 test images are also training images.")
    assert text["Spread"].startswith("Single runs: no spread is known.")
    assert "1 student failed" in text["Runs"]


def test_controls_and_settings_of_the_suite_are_named(tmp_path: Path) -> None:
    methods = "{student: papers, kd: {ce: 1, kd: 2}}"
    text = answers(card(tmp_path, {}, controls="true", methods=methods))
    assert text["Controls"].startswith("LS, untrained teacher and longer training")
    assert "Settings of the papers: Student" in text["Tuning"]
    assert "Settings of the suite: KD." in text["Tuning"]


def test_formats_other_than_those_of_a_card_are_skipped(tmp_path: Path) -> None:
    result = card(tmp_path, {})
    assert [path.name for path in write(result, tmp_path, "toy", ["csv", "txt"])] == [
        "toy-checklist.txt"
    ]
    with pytest.raises(Exception, match="md, tex, txt"):
        write(result, tmp_path, "toy", ["csv", "html"])
