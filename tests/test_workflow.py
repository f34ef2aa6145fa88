"""The shipped GitHub workflow: its commands parse, its files exist."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bench import regression, suite
from bench.cli.app import app

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "bench-check.yml").read_text("utf-8"))
(JOB,) = WORKFLOW["jobs"].values()
STEPS = [step for step in JOB["steps"] if "run" in step]


def arguments(step: dict[str, Any]) -> list[str]:
    """The words of a step's command, variables replaced by their values."""
    values = {**WORKFLOW["env"], "GITHUB_STEP_SUMMARY": "summary.md"}
    return shlex.split(re.sub(r"\$(\w+)", lambda match: str(values[match[1]]), step["run"]))


VERBS = [words[1:] for words in map(arguments, STEPS) if words[0] == "bench"]


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_every_command_parses(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    with group.make_context("bench", list(words)) as context:
        _, verb, rest = group.resolve_command(context, list(words))
        verb.make_context(verb.name, rest, parent=context)


def test_workflow_runs_checks_and_always_reports() -> None:
    assert [words[0] for words in VERBS] == ["run", "check", "report"]
    (report,) = (step for step in STEPS if step["run"].startswith("bench report"))
    assert report["if"] == "always()"


def test_baseline_belongs_to_the_suite() -> None:
    env = WORKFLOW["env"]
    assert suite.find(env["SUITE"]).is_file()
    assert regression.read(ROOT / env["BASELINE"]).suite == env["SUITE"]


@pytest.mark.case("copied-workflow")
@pytest.mark.parametrize(
    ("project", "installed"),
    [("distillbench", "."), ("other", "distillbench"), (None, "distillbench")],
)
def test_a_copy_in_another_repository_installs_distillbench(
    project: str | None, installed: str, tmp_path: Path
) -> None:
    if project:
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    script = next(step["run"] for step in STEPS if "pip install" in step["run"])
    env = {**WORKFLOW["env"], "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", "-e", "-c", script]
    output = subprocess.check_output(command, cwd=tmp_path, env=env, text=True)
    assert output.split() == ["install", installed]


def test_no_step_needs_a_file_of_this_repository() -> None:
    text = (ROOT / ".github/workflows/bench-check.yml").read_text("utf-8")
    assert "cache-dependency-path" not in text


def test_records_are_not_cached_between_jobs() -> None:
    """Run ids do not depend on our code: a cached record would hide the effect of a change."""
    assert not any("cache@" in step.get("uses", "") for step in JOB["steps"])
