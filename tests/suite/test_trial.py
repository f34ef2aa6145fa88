"""`bench validate` calls each distiller once: bugs and violations are reported with their line."""

import os
import pty
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import suite as suites
from bench.cli.app import app
from bench.planning.plan import plan
from bench.planning.tryout import try_distillers
from bench.results import Results
from tests import toy
from tests.command import ROOT, process

PLUGIN = """\
from torch import nn

from distillers import Distiller


class Mine(Distiller):
    paper = "none"
    reads = ("logits",)

    def __init__(self, setting):
        super().__init__(setting)
        self.scale = nn.Linear(10, 10)

    def forward(self, student, teacher, batch):
        loss = (self.scale(student.logits) - teacher.logits).abs().mean()
        return loss


import torch
CALLS = []
"""


def outcomes(folder: Path, text: str) -> tuple[list[str], list[str]]:
    (folder / "mine.py").write_text(text)
    suite = toy.write(folder, methods="{mine: {ce: 1, mine: 1}}", plugins="[mine.py]")
    trials = try_distillers(plan(suites.read(suite)))
    return (
        [problem for trial in trials for problem in trial.problems],
        [warning for trial in trials for warning in trial.warnings],
    )


def test_a_distiller_that_keeps_its_contract_is_accepted(tmp_path: Path) -> None:
    assert outcomes(tmp_path, PLUGIN) == ([], [])


@pytest.mark.case("plugin-bug")
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("teacher.logits)", "teacher.logit)", "has no attribute 'logit' (mine.py:15)"),
        ("teacher, batch", "teacher", "takes 3 positional arguments but 4 were given (mine.py:14)"),
        (".mean()", ".mean(1)", "forward returns (8,). Allowed: a tensor of shape ()"),
        ("return loss", "pass", "forward returns NoneType. Allowed: a tensor of shape ()"),
        ("return loss", "return loss.detach()", "the loss has no gradient"),
        ("return loss", "return loss / 0", "the loss is inf. Allowed: finite"),
        ("self.scale(student.logits)", "0", "the loss has no gradient"),
        ('("logits",)', '("logits", "pooled")', "no gradient reaches the student's pooled"),
        ('("logits",)', '("pooled",)', "forward uses logits, which `reads` does not declare"),
        ("        loss =", "        teacher.logits.mul_(2)\n        loss =", "forward writes to"),
        ("self.scale(student.logits)", "student.logits", "no gradient reaches the parameter scale"),
        ("Linear(10", "Linear(11", "mat1 and mat2 shapes cannot be multiplied (8x10 and 11x10)"),
        ("return loss", "teacher.logits.data.mul_(2)\n        return loss", "forward writes to"),
        (
            "return loss",
            "batch.labels.add_(1)\n        return loss",
            "writes to features or label",
        ),
        ("return loss", "return loss * torch.rand(())", "a global random generator: use self.rng"),
        ("return loss", "return loss.half()", "forward returns torch.float16. Allowed: torch.floa"),
        ("return loss", "CALLS.append(1)\n        return loss * len(CALLS)", "keep state in self"),
        ("return loss", "raise SystemExit(0)", "SystemExit: 0 (mine.py:16)"),
        ("paper =", "uses_teacher = False\n    paper =", "but `uses_teacher` is False"),
        ("super().__init__(setting)", "undefined", "name 'undefined' is not defined (mine.py:11)"),
    ],
)
def test_a_bug_is_reported(tmp_path: Path, old: str, new: str, problem: str) -> None:
    problems, _ = outcomes(tmp_path, PLUGIN.replace(old, new.replace("\\n", "\n")))
    assert any(problem in text for text in problems), problems


@pytest.mark.case("plugin-bug")
def test_a_distiller_that_waits_for_the_device_is_reported(tmp_path: Path) -> None:
    text = PLUGIN.replace("return loss", "return loss if loss.item() < 1e9 else 0 * loss")
    problems, warnings = outcomes(tmp_path, text)
    assert not problems
    (warning,) = warnings
    assert "may wait for the device" in warning
    assert "(mine.py:16)" in warning


@pytest.mark.case("plugin-bug")
def test_validate_names_the_line_of_the_suite_and_of_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace("teacher.logits)", "teacher.logit)"))
    suite = toy.write(tmp_path, methods="{mine: {ce: 1, mine: 1}}", plugins="[mine.py]")
    result = CliRunner().invoke(app, ["validate", str(suite)])
    assert result.exit_code == 2
    line = suite.read_text().splitlines().index("methods: {mine: {ce: 1, mine: 1}}") + 1
    assert f"{suite}:{line}  methods.mine.mine: AttributeError" in result.stderr
    assert "(mine.py:15)" in result.stderr


@pytest.mark.case("plugin-bug")
def test_the_record_names_the_line_and_the_log_holds_the_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = PLUGIN.replace("return loss", "return loss.view(3)")
    (tmp_path / "mine.py").write_text(text)
    lines = {"methods": "{mine: {ce: 1, mine: 1}}", "plugins": "[mine.py]"}
    plan_ = toy.plan(tmp_path, **lines)
    results = toy.run(plan_, tmp_path)
    (record,) = (r for r in results.records() if r.kind == "student")
    assert record.status == "failed"
    assert record.reason is not None
    assert record.reason.endswith("(mine.py:16)")
    screen = capfd.readouterr().err
    assert "Traceback (most recent call last)" in screen
    assert "return loss.view(3)" in screen


def in_terminal(folder: Path, answers: dict[str, str]) -> tuple[str, int]:
    """Run the toy suite inline in a terminal; return its output and exit code.

    Each answer is written two seconds after its key, a prompt, so that a live view could refresh.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
        command = [
            sys.executable,
            "-m",
            "bench",
            "run",
            "toy.yaml",
            "--inline",
            "--tracker",
            "none",
        ]
        os.execve(sys.executable, command, environment)
    output, start = "", 0
    with suppress(OSError):  # a closed terminal
        while content := os.read(terminal, 4096):
            output += content.decode()
            for prompt in [prompt for prompt in answers if prompt in output[start:]]:
                start = len(output)
                time.sleep(2)
                os.write(terminal, answers.pop(prompt).encode())
    os.close(terminal)
    return output, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.slow
@pytest.mark.case("plugin-bug")
def test_a_debugger_is_usable_on_a_terminal_and_its_quit_ends_the_command(tmp_path: Path) -> None:
    text = PLUGIN.replace("return loss", "breakpoint()\n        return loss")
    (tmp_path / "mine.py").write_text(text)
    toy.write(tmp_path, methods="{mine: {ce: 1, mine: 1}}", plugins="[mine.py]")
    answers = {"(Pdb) ": "p loss.shape\n", "torch.Size([])\r\n(Pdb) ": "q\n"}
    output, code = in_terminal(tmp_path, answers)
    assert code == 130, output
    assert "(Pdb) p loss.shape\r\ntorch.Size([])\r\n(Pdb) q\r\n" in output
    assert "\x1b" not in output
    assert output.endswith("interrupted; run the same command again to resume\r\n")
    assert [record.kind for record in Results(tmp_path / "results").records()] == ["teacher"]


@pytest.mark.case("plugin-bug")
@pytest.mark.parametrize(
    "call",
    [
        "breakpoint()",
        pytest.param("import pdb; pdb.set_trace()", marks=pytest.mark.slow),
        pytest.param("input()", marks=pytest.mark.slow),
    ],
)
def test_a_debugger_in_a_worker_process_ends_the_run_with_the_fix(call: str, here: Path) -> None:
    text = PLUGIN.replace("return loss", f"{call}\n        return loss")
    (here / "mine.py").write_text(text)
    toy.write(here, methods="{mine: {ce: 1, mine: 1}}", plugins="[mine.py]")
    # In a process of its own, because pytest replaces breakpoint() and pdb.set_trace in this one.
    command = process(here, "run", "toy.yaml", "--tracker", "none", "--view", "plain")
    output, _ = command.communicate()
    assert command.returncode == 3
    assert "has no input for breakpoint()" in output
    assert re.search(r"`bench run SUITE --inline` \(mine.py:1[67]\)", output)
