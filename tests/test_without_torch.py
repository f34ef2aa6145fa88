"""Commands that only look at suites and records print the same without torch as with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cache import MAX_FILES, cached
from tests.command import ROOT, bench

RESULTS = str(ROOT / "results" / "quickstart")
STORED = ["quickstart", "--results", RESULTS]
VERBS = [
    ["status", *STORED],
    ["status", *STORED, "--json"],
    ["report", *STORED, "--format", "md,tex,csv,json,txt", "--output", "tables"],
    ["report", *STORED, "--published", "--statistics", "--output", "tables"],
    ["report", *STORED, "--checklist", "--output", "tables"],
    ["check", *STORED, "--baseline", f"{RESULTS}/quickstart-baseline.json"],
    ["check", *STORED, "--against", "published"],
    ["compare", RESULTS, RESULTS],
    ["figures", *STORED, "--which", "forest,curves", "--output", "tables"],
    ["teachers", *STORED],
    ["baseline", *STORED, "--output", "tables/baseline.json"],
    *(["list", what] for what in ("suites", "methods", "distillers", "networks", "datasets")),
    ["show", "quickstart"],
    ["show", "small_tuned", "--results", str(ROOT / "results" / "small_tuned")],
    ["validate", "quickstart"],
]
BLOCKED = """
import json, sys
sys.modules["torch"] = None  # an import raises ImportError
from tests.command import bench
outcomes = [bench(*verb) for verb in json.loads(sys.argv[1])]
print(json.dumps([[each.exit_code, each.output] for each in outcomes]))
"""


def written(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder; PDF files have the time of their creation."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pdf")
    return {path.name: path.read_bytes() for path in files}


def test_outputs_are_the_same_without_torch(here: Path) -> None:
    outcomes = [bench(*verb) for verb in VERBS]
    files = written(here / "tables")
    assert {"quickstart.md", "quickstart.json", "baseline.json"} <= files.keys()
    for path in (here / "tables").iterdir():
        path.unlink()
    command = [sys.executable, "-c", BLOCKED, json.dumps(VERBS)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, result.stderr
    outputs = json.loads(result.stdout.splitlines()[-1])
    for verb, outcome, (code, output) in zip(VERBS, outcomes, outputs, strict=True):
        assert (verb, code, output) == (verb, outcome.exit_code, outcome.output)
    assert written(here / "tables") == files


def test_first_validation_needs_torch(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    code = "import sys; sys.modules['torch'] = None; from tests.command import bench\n"
    command = [sys.executable, "-c", f"{code}bench('validate', 'quickstart')"]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert "import of torch halted" in result.stderr
    assert bench("validate", "quickstart").exit_code == 0
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0


@pytest.mark.slow
def test_invalid_suite_is_refused_from_the_cache_with_the_same_lines(here: Path) -> None:
    text = (ROOT / "suites" / "quickstart.yaml").read_text()
    suite = here / "odd.yaml"
    suite.write_text(text.replace("student: resnet8", "student: timm:vit_tiny_patch16_224", 1))
    first, second = bench("validate", suite), bench("validate", suite)
    assert first.exit_code == 2
    assert "odd.yaml:" in first.output
    assert (second.exit_code, second.output) == (first.exit_code, first.output)


def test_cached_result_is_used_for_equal_inputs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [cached(["f", 1], lambda: [1]), cached(["f", 1], lambda: [2])] == [[1], [1]]
    assert cached(["f", 2], lambda: [2]) == [2]
    for path in (tmp_path / "distillbench" / "outcomes").iterdir():
        path.write_text(path.read_text().replace("[", " ["))  # damaged: the checksum differs
    assert cached(["f", 1], lambda: [3]) == [3]


def test_cache_has_a_limit_and_may_be_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "distillbench" / "outcomes"
    folder.mkdir(parents=True)
    for number in range(MAX_FILES):
        (folder / f"{number}.json").write_text("")
    assert cached(["f"], lambda: 1) == 1
    assert len(list(folder.iterdir())) <= MAX_FILES // 2 + 1
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "499.json" / "x"))
    assert cached(["f"], lambda: 2) == 2
