"""A folder of images beside the suite file, and what `validate` and `plan` say about it."""

from pathlib import Path

import pytest

from bench.planning.estimate import estimate
from bench.results import Results
from bench.suite import read
from tests import toy
from tests.command import bench
from tests.data.toys import image_folder

SMALL = {"train": {"a": 20, "b": 20, "c": 20}, "test": {"a": 2, "b": 2, "c": 2}}
LINES = {"dataset": "{name: 'folder:shapes', size: 8}", "methods": "[student]"}


@pytest.mark.case("relative-folder")
def test_a_folder_beside_the_suite_file_comes_first(here: Path) -> None:
    image_folder(here / "suites/shapes", SMALL)
    suite = toy.write(here / "suites", **LINES)
    assert read(suite).data.name == f"folder:{here / 'suites/shapes'}"
    image_folder(here / "data/shapes", {**SMALL, "test": {"a": 3, "b": 3, "c": 3}})
    assert read(suite).data.name == f"folder:{here / 'suites/shapes'}"
    assert bench("validate", str(suite)).exit_code == 0
    run = bench("run", str(suite), "--inline", "--tracker", "none", "--view", "plain")
    assert run.exit_code == 0, run.stdout
    assert all(r.specification.data.name == "folder" for r in Results(here / "results").records())


@pytest.mark.case("relative-folder")
def test_a_folder_in_the_data_root_is_found(here: Path) -> None:
    image_folder(here / "data/shapes", SMALL)
    (here / "suites").mkdir()
    suite = toy.write(here / "suites", **LINES)
    assert bench("validate", str(suite)).exit_code == 0


@pytest.mark.case("relative-folder")
@pytest.mark.parametrize("verb", ["validate", "plan", "run"])
def test_verbs_look_for_the_folder(verb: str, here: Path) -> None:
    toy.write(here, **LINES)
    result = bench(verb, "toy.yaml")
    assert result.exit_code == 2
    assert f"{here / 'data/shapes/train'}: 0 class folders were found" in result.stderr


@pytest.mark.case("too-few-negatives")
def test_the_papers_crd_on_a_small_folder_is_skipped_with_the_fix(here: Path) -> None:
    image_folder(here / "shapes", SMALL)
    lines = {**LINES, "methods": "[student, crd]", "options": ""}
    toy.write(here, **lines)
    plan = bench("plan", "toy.yaml")
    assert plan.exit_code == 0
    assert "options: {crd: {negatives: 40}}" in " ".join(plan.stdout.split())
    lines["options"] = "{crd: {negatives: 40, width: 8}}"
    assert all(cost.error is None for cost in estimate(toy.plan(here, **lines)).values())


@pytest.mark.case("imbalanced-negatives")
def test_the_plan_knows_the_counts_of_imbalanced_classes(here: Path) -> None:
    counts = {"train": {"few": 4, "many": 64}, "test": {"few": 2, "many": 2}}
    image_folder(here / "shapes", counts)
    lines = {**LINES, "methods": "[student, crd, wcord]"}
    lines["options"] = "{crd: {negatives: 8, width: 8}, wcord: {negatives: 8, width: 8}}"
    errors = [cost.error for cost in estimate(toy.plan(here, **lines)).values()]
    assert sum(error is not None and "only 4 training samples" in error for error in errors) == 2
    toy.write(here, **lines)
    for _ in range(2):
        run = bench("run", "toy.yaml", "--inline", "--tracker", "none", "--view", "plain")
        assert run.exit_code == 0, run.stdout


@pytest.mark.case("hidden-files")
def test_the_plan_and_the_record_count_ignored_files(here: Path) -> None:
    image_folder(here / "shapes", SMALL)
    (here / "shapes/train/a/.DS_Store").write_bytes(b"")
    (here / "shapes/train/a/notes.txt").write_bytes(b"")
    plan = toy.plan(here, **LINES)
    assert "data: 2 files ignored: hidden, or not an image" in bench("plan", "toy.yaml").stdout
    results = toy.run(plan, here)
    assert [record.data["ignored_files"] for record in results.records()] == [2, 2]


@pytest.mark.case("broken-images")
def test_validate_lists_broken_images(here: Path) -> None:
    image_folder(here / "shapes", SMALL)
    for name in "ab":
        (here / f"shapes/train/{name}/broken.png").write_bytes(b"")
    toy.write(here, **LINES)
    result = bench("validate", "toy.yaml")
    assert result.exit_code == 2
    assert result.stderr.count("broken.png cannot be read as an image: the file is empty") == 2
