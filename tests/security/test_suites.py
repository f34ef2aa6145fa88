"""Any text as a suite gives a plan or errors with lines, never a traceback or a hang."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import api, data
from bench.api import Machine
from bench.config.text import hidden
from bench.data import Selection
from bench.errors import BenchError, ConfigError
from bench.planning import estimate
from bench.planning.plan import Plan
from bench.results import Results
from bench.suite import checks
from tests import toy
from tests.command import ROOT, bench, wrong
from tests.security.mutants import mutant, small
from tests.soak import times

PATIENCE = 60  # seconds for one suite, with everything else that runs on the machine
PARTS = 4
WORK = 3e9  # multiply-adds of all runs of a suite that is really run
SUITE = Path("suite.yaml")


@pytest.fixture(autouse=True)
def warm(here: Path) -> None:
    """Import timm and torchvision, which takes seconds, before the timed tests."""
    assert "resnet18" in checks.library_networks("timm")
    assert "resnet18" in checks.library_networks("torchvision")


@contextmanager
def timeout(number: int) -> Iterator[None]:
    """Inside, errors name the suite, and a hang is an error."""

    def hangs(*_: object) -> None:
        raise TimeoutError(f"{PATIENCE} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(PATIENCE)
    try:
        yield
    except BaseException as error:
        error.add_note(f"the suite is tests.security.mutants.mutant({number}) or small")
        raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def plan_of(text: str) -> Plan | None:
    """Return the plan of a text, or None after checks of its error messages."""
    SUITE.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return api.load_plan(SUITE)
    except BenchError as error:
        refused = error
    for line in str(refused).split("\n"):
        assert line
        assert not hidden(line)
        place = re.match(r"suite\.yaml:(\d+)  \S", line)
        if isinstance(refused, ConfigError):  # else the data set is missing
            assert place, line
            assert 1 <= int(place[1]) <= text.count("\n") + text.count("\r") + 2
    return None


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_suite_gives_a_plan_or_errors_with_lines(part: int) -> None:
    plans = 0
    for number in range(part, times(2_000, 100_000), PARTS):
        with timeout(number):
            if plan := plan_of(mutant(number)):
                plans += 1
                assert {cell.run for cell in plan.cells} <= set(plan.runs)
    assert plans > 10
    assert list(Path().iterdir()) == [SUITE]


@pytest.mark.slow
@pytest.mark.soak
def test_invalid_suite_writes_nothing() -> None:
    refused = 0
    for number in range(times(30, 1_000)):
        with timeout(number):
            if plan_of(mutant(number)) is None:
                wrong(bench("run", SUITE, "--tracker", "none", "--inline"))
                refused += 1
    assert refused > 10
    assert list(Path().iterdir()) == [SUITE]


@pytest.mark.slow
@pytest.mark.soak
def test_valid_suite_ends_with_a_record_for_every_run() -> None:
    results, done = Results(Path("results")), 0
    count = times(3, 200)
    for number in range(20 * count):
        if done == count:
            break
        with timeout(number):
            plan = plan_of(small(number))
            if plan is None or len(plan.runs) > 4:
                continue
            estimates = estimate.estimate(plan)
            if sum(estimates[run.id].work(run, 100) for run in plan.runs.values()) > WORK:
                continue
            api.execute(plan, results, Machine(gpus=(), inline=True))
            assert all(results.record(run) is not None for run in plan.runs)
            done += 1
    assert done == count


def test_largest_invalid_suites_are_refused_in_time() -> None:
    """Suites of the maximum size in which everything is invalid."""
    pairs = "".join(f"- {{teacher: 'timm:no{i}', student: no{i}}}\n" for i in range(900))
    head = "suite_version: 1\ntitle: T\ndataset: digits\n"
    for text in (
        f"{head}methods: [kd]\npairs:\n{pairs}",
        f"{head}methods: [{'x, ' * 4_900}]\npairs: []\n",
        f"{head}methods: {{{', '.join(f'm{i}: {{no{i}: 1}}' for i in range(1_200))}}}\n",
        "".join(f"no{i}: &no{i} *no{i}\n" for i in range(2_400)),
        "- " * 100_000,
        "[" * 250_000,
        "? " * 120_000,
        '"' + "\\x41" * 60_000 + '": 1\n',
        "a: |\n" + " x\n" * 80_000,
        "a: " + "x " * 120_000 + "\n",
        "#" * 250_000,
        "a:\n" + "  - [x, {y: z}]\n" * 800,
        f"{head}pairs: [{{teacher: resnet8, student: resnet8}}]\nseeds: 0-999\nmethods:\n"
        + "".join(f"  m{i}: {{ce: 1}}\n" for i in range(60)),
    ):
        with timeout(0):
            assert plan_of(text) is None


def test_lookalike_letters_and_invisible_characters_are_refused() -> None:
    """The message names the character."""
    text = toy.SUITE.replace("student: resnet8", "student: rеsnet8").replace("kd]", "kd, кd]")
    text = text.replace("digits", '"dig\\u200dits"').replace("crd:", "сrd:")
    SUITE.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as error:
        api.load_plan(SUITE)
    lines = [line.removeprefix("suite.yaml:") for line in error.value.lines]
    hidden = "an invisible character. Allowed: visible characters"
    ascii = "Allowed in names: ASCII"
    for message in (
        f"4  dataset.name: contains U+200D ZERO WIDTH JOINER, {hidden}",
        f"9  pairs.0.student: 'rеsnet8' contains U+0435 CYRILLIC SMALL LETTER IE. {ascii}",
        f"10  options: 'сrd' contains U+0441 CYRILLIC SMALL LETTER ES. {ascii}",
    ):
        assert message in lines
    assert any(line.startswith("11  methods.2: found the text 'кd'") for line in lines)


GIANT = """\
suite_version: 1
title: A network of a billion numbers, memory banks of as many
dataset: {name: digits, size: 28}
pairs:
  - {teacher: "timm:vit_giant_patch14_clip_224", student: resnet8}
  - {teacher: resnet8, student: "timm:vit_giant_patch14_clip_224"}
methods: [student, crd]
options: {crd: {width: 65536, negatives: 16}}
seeds: [0]
"""
PEAK = """
import torch
from bench.cli.app import app
from bench.results.environment import peak_memory
try:
    app(["plan", "suite.yaml", "--json"], prog_name="bench")
finally:
    print(peak_memory(torch.device("cpu")))
"""


@pytest.mark.slow
def test_cost_of_a_giant_network_needs_little_memory(here: Path) -> None:
    SUITE.write_text(GIANT)
    done = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    output, _, peak = done.stdout.strip().rpartition("\n")
    assert int(peak) < 2 * 1024**3
    plan = json.loads(output)
    assert {run["state"] for run in plan["runs"]} == {"to do"}
    parameters = {entry["network"]: entry["parameters"] for entry in plan["networks"]}
    assert parameters["timm:vit_giant_patch14_clip_224"] == 1_010_863_114
    (banks,) = plan["memory"]
    assert banks["bytes"] > 2 * data.facts(Selection("digits")).train * 65536 * 4
