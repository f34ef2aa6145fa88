"""An installed wheel brings suites, published numbers, methods and templates, without a clone."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench import suite
from tests.command import ROOT
from tests.test_terminal import build, committed_files

pytestmark = pytest.mark.slow
SHORT = [
    "--set",
    "recipe.epochs=1",
    "--set",
    "recipe.milestones=[]",
    "--seeds",
    "0",
    "--limit",
    "1",
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel of the committed files; return the folder with its content."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in committed_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    build("wheel", source, folder)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "installed")
    return folder / "installed"


def command(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in the current folder."""
    env = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "100"}
    words = [sys.executable, "-P", "-m", "bench", *arguments]
    return subprocess.run(words, env=env, capture_output=True, text=True)


def output(installed: Path, *arguments: str) -> str:
    ran = command(installed, *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_shipped_suites_are_listed_and_valid(installed: Path, here: Path) -> None:
    assert f"from {installed}" in output(installed, "--version")
    rows = json.loads(output(installed, "list", "suites", "--json"))
    assert [row["suite"] for row in rows] == [path.stem for path in suite.shipped()]
    assert {Path(row["file"]).parent for row in rows} == {installed / "bench" / "suites"}
    assert "quickstart: valid" in output(installed, "validate", "quickstart")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["quickstart.yaml", "suites/quickstart.yaml"])
def test_a_path_in_a_clone_finds_the_shipped_suite(name: str, installed: Path, here: Path) -> None:
    assert "title: Quickstart" in output(installed, "show", name)


def test_a_shipped_suite_is_run_by_its_name(installed: Path, here: Path) -> None:
    output(installed, "run", "quickstart", *SHORT, "--tracker", "none", "--inline")
    assert (here / "results" / "quickstart-part.md").is_file()


def test_a_misspelled_suite_names_the_nearest_one(installed: Path, here: Path) -> None:
    ran = command(installed, "run", "quickstrat")
    assert ran.returncode == 2
    assert ran.stderr.startswith("quickstrat: no such suite. Did you mean 'quickstart'?")


def test_published_numbers_are_shown(installed: Path, here: Path) -> None:
    shown = output(installed, "report", "cifar100_same_arch", "--published-only")
    assert "75.48" in shown  # CRD, Table 1: WRN-40-2 to WRN-16-2
    output(installed, "report", "imagenet_crd", "--published-only")


def test_schema_and_templates_are_in_the_package(installed: Path, here: Path) -> None:
    schema = (installed / "bench" / "suites" / "schema.json").read_text("utf-8")
    assert output(installed, "schema") == schema
    output(installed, "new", "distiller", "cosine")
    assert "cosine.yaml: valid" in output(installed, "validate", "cosine.yaml")
