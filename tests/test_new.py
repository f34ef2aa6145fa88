"""`bench new`: three files that work at once, and names that it refuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.results import Results
from tests.command import bench, wrong

KINDS = {"distiller": "my_loss", "network": "tiny_net", "dataset": "quarters"}
CHANGES = ("epochs=1", "milestones=[]")
SHORT = (
    *(f"--set={recipe}.{change}" for recipe in ("recipe", "teachers.recipe") for change in CHANGES),
    "--seeds=0",
)


@pytest.mark.parametrize(("kind", "name"), KINDS.items())
def test_new_files_are_valid_and_train(kind: str, name: str, here: Path) -> None:
    written = bench("new", kind, name).stdout
    files = [f"{name}.py", f"test_{name}.py", f"{name}.yaml"]
    assert written.splitlines()[0] == f"written: {', '.join(files)}"
    assert sorted(path.name for path in here.iterdir()) == sorted(files)
    assert bench("validate", f"{name}.yaml").stdout == f"{name}.yaml: valid\n"

    ran = bench("run", f"{name}.yaml", *SHORT, "--inline", "--tracker", "none")
    assert ran.exit_code == 0
    records = list(Results(here / "results").records())
    assert {record.status for record in records} == {"done"}
    used = name.replace("_", "") if kind == "distiller" else name
    assert any(used in str(record.specification.content) for record in records)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), KINDS.items())
def test_new_tests_pass_and_see_a_fault(kind: str, name: str, here: Path) -> None:
    bench("new", kind, name)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}.py"]
    ran = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    changes = {
        "distiller": ("(1 - cosine)", "(1 - cosine.detach())"),
        "network": ("self.classifier(pooled)", "self.classifier(pooled).detach()"),
        "dataset": ("+= 40", "+= 41"),
    }
    path = here / f"{name}.py"
    old, new = changes[kind]
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    assert subprocess.run(command, cwd=here, capture_output=True).returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), KINDS.items())
def test_new_files_are_formatted_and_pass_the_linter(kind: str, name: str, here: Path) -> None:
    pytest.importorskip("ruff")
    bench("new", kind, name)
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["check", "--isolated", "--line-length=100", "--select=E,W,F,I,B,D101,D102,UP,PT"]
    for arguments in (rules, ["format", "--isolated", "--line-length=100", "--check"]):
        ran = subprocess.run([*ruff, *arguments, "."], cwd=here, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout


def test_printed_commands_are_those_of_the_new_files(here: Path) -> None:
    lines = bench("new", "distiller", "cosine").stdout.splitlines()
    commands = [line.split("  #")[0].strip() for line in lines if line.startswith("  ")]
    assert commands == [
        "python -m pytest test_cosine.py",
        "bench validate cosine.yaml",
        "bench run cosine.yaml",
    ]


def test_a_distiller_whose_name_in_suites_differs_says_so(here: Path) -> None:
    assert "In suites, its name is ownloss." in bench("new", "distiller", "own_loss").stdout
    assert "In suites" not in bench("new", "network", "tiny_net").stdout


@pytest.mark.parametrize("existing", ["cosine.py", "test_cosine.py", "cosine.yaml"])
def test_no_file_is_overwritten(existing: str, here: Path) -> None:
    (here / existing).write_text("mine")
    message = wrong(bench("new", "distiller", "cosine"))
    assert message == f"{existing}: exists already. Allowed: another name or folder"
    assert [path.name for path in here.iterdir()] == [existing]
    assert (here / existing).read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("distiller", "My-Loss", "not a name of a Python module"),
        ("distiller", "1st", "not a name of a Python module"),
        ("distiller", "class", "not a name of a Python module"),
        ("distiller", "a" * 41, "not a name of a Python module"),
        ("distiller", "../x", "not a name of a Python module"),
        ("distiller", "random", "a Python module 'random' is installed"),
        ("network", "torch", "a Python module 'torch' is installed"),
        ("distiller", "kd", "bench has 'kd' already"),
        ("distiller", "re_view_kd", "bench has 'reviewkd' already"),
        ("distiller", "funmatch", "bench has 'funmatch' already"),
        ("distiller", "label", "bench has 'label' already"),
        ("distiller", "teacher", "bench has 'teacher' already"),
        ("network", "resnet20", "bench has 'resnet20' already"),
        ("dataset", "cifar100", "bench has 'cifar100' already"),
    ],
)
def test_unusable_names_are_refused(kind: str, name: str, message: str, here: Path) -> None:
    error = wrong(bench("new", kind, name))
    assert error.startswith(f"bench new {kind} {name}: {message}")
    assert re.search(r"Allowed: \w", error)
    assert list(here.iterdir()) == []


def test_an_unknown_kind_is_refused(here: Path) -> None:
    result = bench("new", "loss", "cosine")
    assert result.exit_code == 2
    assert "'distiller', 'network', 'dataset'" in result.stderr
