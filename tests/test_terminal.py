"""The command in unusual terminals and environments: narrow, closed, optimised, odd encodings."""

import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from bench.cli.app import VERBS
from bench.results import Results
from tests import toy
from tests.command import ROOT, bench

QUICKSTART = ROOT / "results/quickstart"
SAME = "suites/cifar100_same_arch.yaml"


def shell(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, **environment}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, errors="replace"
    )


@pytest.mark.case("version-and-h", "other-bench")
def test_version_names_the_distribution_and_its_path() -> None:
    result = bench("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("distillbench ")
    assert str(ROOT / "bench") in result.stdout
    assert f"torch {version('torch')}" in result.stdout


@pytest.mark.case("other-bench")
def test_the_installation_guide_names_the_conflict() -> None:
    readme = (ROOT / "docs/CLI.md").read_text("utf-8")
    assert "another package with a top-level module `bench`" in readme


@pytest.mark.case("version-and-h")
@pytest.mark.parametrize("verb", ["", *VERBS])
def test_h_is_help(verb: str) -> None:
    words = [verb] if verb else []
    short, long = bench(*words, "-h"), bench(*words, "--help")
    assert short.exit_code == 0
    assert short.stdout == long.stdout


@pytest.mark.case("optimised-python")
def test_help_does_not_depend_on_docstrings(tmp_path: Path) -> None:
    output = shell(tmp_path, "$PYTHON -m bench --help", PYTHONOPTIMIZE="2").stdout
    for verb, text in VERBS.items():
        assert text.split(",")[0].split(";")[0] in " ".join(output.split()), verb
    output = shell(tmp_path, "$PYTHON -m bench plan --help", PYTHONOPTIMIZE="2").stdout
    assert VERBS["plan"] in output


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished toy suite."""
    folder = tmp_path_factory.mktemp("finished")
    toy.run(toy.plan(folder, methods="[student, kd]"), folder)
    return folder


@pytest.mark.case("narrow-encoding")
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "verb", [pytest.param("run --tracker none", marks=pytest.mark.slow), "report", "status"]
)
def test_other_encodings_get_substitutes(
    finished: Path, environment: dict[str, str], verb: str
) -> None:
    table = finished / "results/toy.md"
    table.unlink(missing_ok=True)
    verb, *options = verb.split()
    line = f"$PYTHON -m bench {verb} toy.yaml {' '.join(options)}"
    result = shell(finished, line, **environment)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert verb == "status" or "±" in table.read_text("utf-8") or table.is_file()


@pytest.mark.case("narrow-encoding")
def test_tables_are_written_before_they_are_printed(finished: Path) -> None:
    table = finished / "results/toy.md"
    table.unlink(missing_ok=True)
    shell(finished, "$PYTHON -m bench report toy.yaml >/dev/full")
    assert table.is_file()


@pytest.mark.case("closed-stdout")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("verb", [pytest.param("run", marks=pytest.mark.slow), "report"])
def test_closed_streams_change_nothing(finished: Path, closed: str, verb: str) -> None:
    table = finished / "results/toy.md"
    table.unlink(missing_ok=True)
    options = "--tracker none" if verb == "run" else ""
    result = shell(finished, f"$PYTHON -m bench {verb} toy.yaml {options} {closed}")
    assert result.returncode == 0, result.stderr
    assert table.is_file()


@pytest.mark.slow
@pytest.mark.case("closed-stdout")
def test_a_daemon_trains(tmp_path: Path) -> None:
    toy.write(tmp_path, methods="[student]")
    result = shell(tmp_path, "$PYTHON -m bench run toy.yaml --tracker none >&- 2>&- <&-")
    assert result.returncode == 0
    records = Results(tmp_path / "results").records()
    assert [record.status for record in records] == ["done", "done"]


@pytest.mark.case("narrow-terminal")
@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize(
    "words",
    [
        f"status {SAME} --results none",
        f"plan {SAME} --results none",
        f"teachers {SAME} --results none",
        f"teachers quickstart --results {QUICKSTART}",
        f"report quickstart --results {QUICKSTART} --output tables",
        f"check quickstart --results {QUICKSTART} --baseline {QUICKSTART}/quickstart-baseline.json",
        f"compare {QUICKSTART} {QUICKSTART}",
        "list methods",
        "list networks",
        "list datasets",
        "list suites",
        "list distillers",
    ],
    ids=lambda words: words.partition(" --")[0][-40:],
)
def test_output_fits_the_terminal(here: Path, words: str, columns: int) -> None:
    (here / "suites").symlink_to(ROOT / "suites")
    result = bench(*words.split(), COLUMNS=str(columns))
    assert result.exit_code == 0, result.stderr
    wide = [line for line in result.stdout.splitlines() if len(line) > columns]
    assert not [line for line in wide if max(map(len, line.split())) < columns // 2]  # a path


@pytest.mark.case("bounded-input")
def test_a_pipe_as_baseline_is_refused(here: Path) -> None:
    os.mkfifo(here / "baseline.json")
    result = bench("check", "quickstart", "--results", QUICKSTART, "--baseline", "baseline.json")
    assert result.exit_code == 2
    assert "baseline.json: not a file" in result.stderr


@pytest.mark.case("bounded-input")
def test_a_huge_record_is_refused_without_reading_it(here: Path) -> None:
    path = toy.write(here, methods="[student]")
    plan = toy.plan(here, methods="[student]")
    record = Results(here / "results").file(next(iter(plan.runs)))
    record.parent.mkdir(parents=True)
    with record.open("wb") as file:
        file.truncate(3 * 1024**3)
    result = bench("report", path)
    assert result.exit_code == 2
    assert "it has 3,221,225,472 bytes, more than 536,870,912" in result.stderr


@pytest.mark.case("pipes")
@pytest.mark.parametrize("name", ["toy.yaml", "results/.lock"])
def test_pipes_are_refused(here: Path, name: str) -> None:
    toy.write(here, methods="[student]")
    path = here / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    result = bench("run", "toy.yaml", "--tracker", "none")
    assert result.exit_code == 2
    assert Path(name).name in result.stderr


@pytest.mark.case("compare-strict")
def test_compare_strict_exits_with_a_code(here: Path) -> None:
    plan = toy.plan(here, methods="[student, kd]", seeds="[0, 1, 2]")
    for folder, gain in (("before", 0.0), ("now", -30.0)):
        results = Results(here / folder)
        for id, run in plan.runs.items():
            top1 = 60.0 + gain + run.specification.seed
            fields: dict[str, Any] = {"metrics": {"last": {"top1": top1}}}
            spec = run.specification
            base = toy.record(id, specification=spec, kind=run.kind, seed=spec.seed)
            results.write(toy.changed(base, name=plan.names()[id], **fields))
    assert bench("compare", "before", "now").exit_code == 0
    assert bench("compare", "before", "now", "--strict").exit_code == 1
    assert bench("compare", "before", "before", "--strict").exit_code == 0


@pytest.mark.case("python-versions", "lowest-versions")
def test_tox_has_environments_for_versions() -> None:
    text = (ROOT / "tox.ini").read_text("utf-8")
    assert "[testenv:py3{11,12,13}]" in text
    assert "uv_resolution = lowest-direct" in text


def committed_files() -> set[str]:
    """The paths that git tracks, except `.gitignore`."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    names = {name for name in listing.stdout.split("\n") if (ROOT / name).is_file()}
    if not names:
        pytest.skip("not a git checkout")
    return names - {".gitignore"}


def build(kind: str, source: Path, folder: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    command = [sys.executable, "-W", "error", "-c", code]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # setuptools warns if it is set
    process = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "warning" not in process.stderr.lower()


@pytest.mark.slow
@pytest.mark.case("sdist")
def test_an_sdist_is_complete_and_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    names = committed_files()
    source = tmp_path / "source"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    build("sdist", source, tmp_path)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as tar:
        assert names <= {name.partition("/")[2] for name in tar.getnames()}
        tar.extractall(tmp_path / "unpacked", filter="data")

    build("wheel", next((tmp_path / "unpacked").iterdir()), tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    code = {name for name in names if name.startswith(("bench/", "distillers/"))}
    data = [
        *ROOT.glob("suites/*.yaml"),
        ROOT / "suites/schema.json",
        *ROOT.glob("results/published/**/*.csv"),
    ]
    moved = {f"bench/{path.relative_to(ROOT)}".replace("/results/", "/") for path in data}
    assert packed == code | moved
