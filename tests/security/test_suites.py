"""Any text at all, given as a suite: a plan or mistakes with lines, no traceback and no hang."""

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
from bench.errors import BenchError, Mistakes
from bench.planning import estimate
from bench.planning.plan import Plan
from bench.results import Results
from bench.suite import references
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
    """In an empty folder, with all imported that a suite may ask for: it takes seconds, once."""
    assert "resnet18" in references._outside("timm")
    assert "resnet18" in references._outside("torchvision")


@contextmanager
def told(number: int) -> Iterator[None]:
    """Inside, an error says which suite it is about, and a hang is one."""

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


def planned(text: str) -> Plan | None:
    """The plan of a text, or None after a look at its mistakes."""
    SUITE.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return api.load_plan(SUITE)
    except BenchError as error:
        refused = error
    for line in str(refused).split("\n"):
        assert line
        assert not hidden(line)
        place = re.match(r"suite\.yaml:(\d+)  \S", line)
        if isinstance(refused, Mistakes):  # else it is about data that are not there
            assert place, line
            assert 1 <= int(place[1]) <= text.count("\n") + text.count("\r") + 2
    return None


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_a_mutated_suite_is_a_plan_or_mistakes_with_lines(part: int) -> None:
    plans = 0
    for number in range(part, times(2_000, 100_000), PARTS):
        with told(number):
            if made := planned(mutant(number)):
                plans += 1
                assert {cell.run for cell in made.cells} <= set(made.runs)
    assert plans > 10
    assert list(Path().iterdir()) == [SUITE]


@pytest.mark.soak
def test_what_has_mistakes_leaves_nothing_behind() -> None:
    refused = 0
    for number in range(times(30, 1_000)):
        with told(number):
            if planned(mutant(number)) is None:
                wrong(bench("run", SUITE, "--tracker", "none", "--inline"))
                refused += 1
    assert refused > 10
    assert list(Path().iterdir()) == [SUITE]


@pytest.mark.soak
def test_what_has_a_plan_comes_to_its_end() -> None:
    """Every run has a record, whatever is in it: nothing is left half done."""
    results, done = Results(Path("results")), 0
    wanted = times(3, 200)
    for number in range(20 * wanted):
        if done == wanted:
            break
        with told(number):
            made = planned(small(number))
            if made is None or len(made.runs) > 4:
                continue
            forecasts = estimate.forecast(made)
            if sum(forecasts[run.id].work(run, 100) for run in made.runs.values()) > WORK:
                continue
            api.execute(made, results, Machine(gpus=(), inline=True))
            statuses = [(results.record(run) or {}).get("status") for run in made.runs]
            assert set(statuses) <= {"done", "diverged", "failed", "skipped"}
            done += 1
    assert done == wanted


def test_the_worst_suites_are_refused_in_time() -> None:
    """As large as a suite may be, and all of it wrong."""
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
        with told(0):
            assert planned(text) is None


def test_names_are_what_they_look_like() -> None:
    """A letter that looks like another is named; so is what cannot be seen."""
    wrong = toy.SUITE.replace("student: resnet8", "student: rеsnet8").replace("kd]", "kd, кd]")
    wrong = wrong.replace("digits", '"dig\\u200dits"').replace("crd:", "сrd:")
    SUITE.write_text(wrong, "utf-8")
    with pytest.raises(Mistakes) as error:
        api.load_plan(SUITE)
    said = [line.removeprefix("suite.yaml:") for line in error.value.lines]
    hidden, ascii = "which cannot be seen. Allowed: visible characters", "Allowed in names: ASCII"
    for mistake in (
        f"4  dataset.name: holds U+200D ZERO WIDTH JOINER, {hidden}",
        f"9  pairs.0.student: 'rеsnet8' holds U+0435 CYRILLIC SMALL LETTER IE. {ascii}",
        f"10  options: 'сrd' holds U+0441 CYRILLIC SMALL LETTER ES. {ascii}",
    ):
        assert mistake in said
    assert any(line.startswith("11  methods.2: found the text 'кd'") for line in said)


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


def test_what_a_giant_takes_is_told_without_taking_it(here: Path) -> None:
    SUITE.write_text(GIANT)
    done = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    told, _, peak = done.stdout.strip().rpartition("\n")
    assert int(peak) < 2 * 1024**3
    found = json.loads(told)
    assert {run["state"] for run in found["runs"]} == {"to do"}
    parameters = {entry["network"]: entry["parameters"] for entry in found["networks"]}
    assert parameters["timm:vit_giant_patch14_clip_224"] == 1_010_863_114
    (banks,) = found["memory"]
    assert banks["bytes"] > 2 * data.facts(Selection("digits")).train * 65536 * 4
