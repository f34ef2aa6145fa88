"""README's first command, letter by letter, in a fresh copy of the tree and a clean environment.

It knows nothing of the package but its command line: it runs where the package is not installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IGNORED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "data", "weights", "state", "logs",
    "mlflow.db*", "mlartifacts",
)  # fmt: skip
KEPT = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TERM", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
METHODS = [
    "Student", "KD", "FitNet", "AT", "SP", "CC", "RKD", "PKT", "CRD", "CRD+KD", "WCoRD", "WCoRD+KD",
    "DCD", "DCD+KD",
]  # fmt: skip
RUNS = 1 + 3 * len(METHODS)
BASELINE = "results/quickstart/quickstart-baseline.json"
TOLERANCE = 2  # points: another kind of processor rounds otherwise, and training carries that far


def first_command() -> str:
    """The first fenced block of shell in README."""
    found = re.search(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert found
    return found[1].strip()


def copied(target: Path) -> None:
    """What a commit of this tree would hold, in an empty folder."""
    if not (ROOT / ".git").exists():
        for path in ROOT.iterdir():
            if path.name not in IGNORED(str(ROOT), [path.name]):
                copy = target / path.name
                shutil.copytree(path, copy, ignore=IGNORED) if path.is_dir() else shutil.copy(
                    path, copy
                )
        return
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not one that was deleted and is still in the index
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def clean_environment() -> dict[str, str]:
    """Ours without what a virtual environment, or this project, would leave in it."""
    outside = Path(sys.base_prefix) / "bin"
    inside = {str(Path(sys.prefix) / "bin"), str(Path(os.environ.get("VIRTUAL_ENV", "-")) / "bin")}
    path = [part for part in os.environ["PATH"].split(os.pathsep) if part not in inside]
    kept = {k: v for k, v in os.environ.items() if k in KEPT or k.startswith(("PIP_", "UV_"))}
    kept |= {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
    return {**kept, "PATH": os.pathsep.join([str(outside), *path])}


def bench(folder: Path, *arguments: object) -> str:
    """What the installed command prints; it must end with exit code 0."""
    command = [".venv/bin/bench", *map(str, arguments)]
    env = clean_environment()
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_first_command_in_an_empty_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    copied(folder)
    assert not (folder / ".venv").exists()
    begun = datetime.now(UTC)
    ran = subprocess.run(
        ["bash", "-c", first_command()],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = (datetime.now(UTC) - begun).total_seconds()
    assert ran.returncode == 0, ran.stdout[-5000:]

    table = ran.stdout.split("\nquickstart: ")[-1]
    assert "n = 3" in table
    for method in METHODS:
        row = rf"^{re.escape(method)}(?![\w+]).*\d+\.\d\d ± \d+\.\d\d"
        assert len(re.findall(row, table, re.M)) == 1, table
    for name in ("quickstart.md", "quickstart.tex", "quickstart.csv", "mlflow.db"):
        assert (folder / "results" / name).stat().st_size > 0, name

    assert json.loads(bench(folder, "status", "quickstart", "--json"))["counts"] == {"done": RUNS}
    plan = json.loads(bench(folder, "plan", "quickstart", "--json"))
    files = [folder / "results" / "runs" / f"{run['id']}.json" for run in plan["runs"]]
    records = [json.loads(file.read_text("utf-8")) for file in files]
    assert len(records) == RUNS
    started = [datetime.fromisoformat(record["started"]) for record in records]
    finished = [datetime.fromisoformat(record["finished"]) for record in records]
    assert min(started) >= begun.replace(microsecond=0), "records came with the copy: nothing ran"

    gate = ("check", "quickstart", "--baseline", BASELINE, "--tolerance", TOLERANCE)
    verdict = bench(folder, *gate)
    assert verdict.startswith("quickstart: ")

    training = (max(finished) - min(started)).total_seconds()
    said = re.findall(r"^quickstart: .*, after .*$", ran.stdout, re.M)
    with capsys.disabled():
        print(f"\nthe whole command: {seconds:.0f} s")
        print(f"from the first run's start to the last one's end: {training:.0f} s (aim: 240)")
        print(*said, verdict, sep="\n")
