"""The command line: what is printed where, and with which exit code."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import EXAMPLES
from bench.execution.protocol import Task
from bench.results import Results
from tests import toy
from tests.command import bench, process, wrong
from tests.execution.test_runner import alive, children

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "torchvision", "timm", "mlflow", "pandas", "pydantic", "rich", "yaml", "tabulate"]
QUICKSTART = ROOT / "results" / "quickstart"
IN_PLACE = ("--inline", "--tracker", "none")


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; from bench.cli import main; sys.argv[1:] = {}\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print('imported', *(name for name in {HEAVY} if name in sys.modules))"
    )
    for arguments, typers in ((["--help"], set()), (["run", "--help"], {"pydantic"})):
        command = [sys.executable, "-c", code.format(arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert ran.stdout.startswith("Usage: bench")
        assert set(ran.stdout.split("imported")[1].split()) <= typers


def test_help_shows_every_verb_whole() -> None:
    told = bench("--help").stdout
    assert "..." not in told.partition("Commands:")[2]
    for verb in EXAMPLES:
        name = verb.__name__.rstrip("_")
        line = str(verb.__doc__).splitlines()[0]
        assert re.search(rf"^  {name} +{re.escape(line)}$", told, re.M)


@pytest.mark.parametrize("verb", EXAMPLES, ids=lambda verb: verb.__name__.rstrip("_"))
def test_help_of_a_verb_shows_an_example(verb: Any) -> None:
    told = bench(verb.__name__.rstrip("_"), "--help").stdout
    assert re.search(rf"^  Example: {re.escape(EXAMPLES[verb])}$", told, re.M)


def test_an_error_of_our_own_is_no_regression() -> None:
    code = (
        "from bench import cli\n"
        "@cli.app.command()\n"
        "def broken(): raise RecursionError('ours')\n"
        "cli.main()"
    )
    command = [sys.executable, "-c", code, "broken"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 5
    assert ran.stderr.startswith("Traceback")
    assert ran.stderr.endswith("RecursionError: ours\n")


def test_whoever_stops_reading_is_told_of_no_regression() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "list", "suites"], cwd=ROOT, stdout=writer,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


def test_no_arguments_are_a_call_for_help() -> None:
    found = bench()
    assert found.exit_code == 2
    assert "Usage: bench" in found.output


def test_from_a_suite_to_its_table_in_processes(here: Path) -> None:
    toy.write(here)
    with process(here, "run", "toy.yaml", "--tracker", "none", "--workers", 1) as first:
        out, err = first.communicate(timeout=300)
    assert (first.returncode, err) == (0, "")
    assert "toy: 3 done, after" in out
    assert re.search(r"^KD +\d+\.\d\d$", out, re.M)
    assert out.splitlines()[-1] == "written: results/toy.md, results/toy.tex, results/toy.csv"
    assert "| KD" in (here / "results" / "toy.md").read_text()
    assert len(list(Results(here / "results").records())) == 3

    again = bench("run", "toy.yaml", *IN_PLACE)
    assert again.exit_code == 0
    assert again.stdout.splitlines()[0] == "toy: nothing to do, all 3 runs have their record"
    assert out.partition("\nToy\n")[2] == again.stdout.partition("\nToy\n")[2]
    assert bench("report", "toy.yaml").stdout == again.stdout.partition("\n")[2]
    assert bench("status", "toy.yaml").stdout.startswith("toy: 3 done\n")
    assert bench("plan", "toy.yaml").stdout.splitlines()[1] == "nothing to do"


def test_an_interrupt_leaves_no_worker_and_says_how_to_go_on(here: Path) -> None:
    toy.write(here, recipe="{epochs: 100000, batch_size: 16}", teachers="{}")
    parent = process(here, "run", "toy.yaml", "--tracker", "none", "--json")
    assert parent.stdout is not None
    for line in parent.stdout:
        event = json.loads(line)
        if event["event"] == "epoch" and event["entry"]["epoch"] == 2:  # the first is kept
            break
    workers = children(parent.pid)
    assert workers
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert err == "stopped; the same command goes on from here\n"
    assert json.loads(out.splitlines()[-1])["event"] == "closed"
    end = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert list((here / "results" / "state").glob("*.pt")), "what it goes on from"


def test_one_student_and_its_teacher_then_the_rest(here: Path) -> None:
    toy.write(here)
    one = bench("run", "toy.yaml", "--limit", 1, *IN_PLACE)
    assert one.exit_code == 0
    assert "toy: 2 done, after" in one.stdout
    assert bench("status", "toy.yaml").stdout.startswith("toy: 2 done, 1 to do\n")
    assert "toy: 1 done, after" in bench("run", "toy.yaml", *IN_PLACE).stdout


def test_json_lines_for_scripts(here: Path) -> None:
    toy.write(here)
    for arguments in (["--json"], ["--view", "json"]):
        found = bench("run", "toy.yaml", *IN_PLACE, *arguments, "--overwrite", "always")
        events = [json.loads(line) for line in found.stdout.splitlines()]
        assert [event["event"] for event in events[-2:]] == ["closed", "tables"]
        assert events[-1]["files"] == [f"results/toy.{end}" for end in ("md", "tex", "csv")]
        assert sum(event["event"] == "record" for event in events) == 3
        assert (here / "results" / "toy.md").exists()
    plan = json.loads(bench("run", "toy.yaml", "--dry-run", "--json").stdout)
    assert {run["state"] for run in plan["runs"]} == {"done"}
    assert json.loads(bench("status", "toy.yaml", "--json").stdout)["counts"] == {"done": 3}
    (teacher,) = json.loads(bench("teachers", "toy.yaml", "--json").stdout)
    assert len(teacher["sha256"]) == 64
    assert {"dataset", "classes"} < set(json.loads(bench("list", "datasets", "--json").stdout)[0])


def test_a_diverged_run_is_exit_code_3_and_a_hole_with_a_reason(here: Path) -> None:
    toy.write(here, methods="{student: papers, bad: {ce: 1.0e+38}}")
    found = bench("run", "toy.yaml", *IN_PLACE)
    assert found.exit_code == 3
    assert re.search(r"^bad +diverged \[a\]$", found.stdout, re.M)
    assert "diverged at epoch 1" in found.stdout
    assert bench("run", "toy.yaml", *IN_PLACE).exit_code == 3, "it is still so"
    assert bench("report", "toy.yaml").exit_code == 0
    assert "diverged: resnet8/resnet8 bad seed 0: diverged" in bench("status", "toy.yaml").stdout


def test_an_impossible_run_is_skipped_and_no_failure(here: Path) -> None:
    toy.write(here, methods="[student, crd]", options="{crd: {negatives: 79}}")
    assert "skipped: resnet8/resnet8 crd seed 0: 79 neg" in bench("plan", "toy.yaml").stdout
    for _ in range(2):
        found = bench("run", "toy.yaml", *IN_PLACE)
        assert found.exit_code == 0
        assert re.search(r"^CRD.* skipped \[\w\]$", found.stdout, re.M)


def test_a_torn_record_is_done_again(here: Path) -> None:
    toy.write(here)
    bench("run", "toy.yaml", *IN_PLACE)
    (path, *_) = sorted((here / "results" / "runs").glob("*.json"))
    before = toy.numbers(json.loads(path.read_text()))
    path.write_text(path.read_text()[:200])
    assert "toy: 1 done, after" in bench("run", "toy.yaml", *IN_PLACE).stdout
    assert toy.numbers(json.loads(path.read_text())) == before


def test_without_data_the_plan_is_there_and_the_run_is_not(here: Path) -> None:
    toy.write(here, dataset="tiny_imagenet")
    for arguments in (["plan", "toy.yaml"], ["run", "toy.yaml", "--dry-run"]):
        assert bench(*arguments, "--data-root", here).stdout.startswith("toy: 2 students (2 to do)")
    said = wrong(bench("run", "toy.yaml", "--data-root", here, *IN_PLACE))
    assert said.startswith("tiny_imagenet: ")
    assert str(here) in said
    assert "\n" not in said
    assert wrong(bench("run", "toy.yaml", *IN_PLACE, BENCH_DATA=str(here))) == said


def test_a_report_of_nothing_is_no_table(here: Path) -> None:
    toy.write(here)
    said = wrong(bench("report", "toy.yaml", "--results", "nowhere"))
    assert said.startswith("nowhere: no record of any of the 3 runs")
    assert "`bench run toy.yaml --results nowhere`" in said
    assert not (here / "nowhere").exists()


@pytest.mark.parametrize("more", [(), ("--statistics",)])
def test_a_table_that_cannot_be_written_is_shown_and_its_file_named(
    more: tuple[str, ...], here: Path
) -> None:
    results = Results(here / "results")
    for run in toy.plan(here).runs.values():
        results.write(Task(run.id, "t", run.specification).record("failed", "none"))
    kind = "".join(more).replace("--", "-")
    (here / f"results/toy{kind}.md").mkdir()
    found = bench("report", "toy.yaml", *more)
    assert found.exit_code == 2
    assert found.stderr == f"results/toy{kind}.md: cannot be written: Is a directory\n"
    assert len(found.stdout.splitlines()) > 5


@pytest.mark.parametrize("flag", ["--junit", "--markdown"])
def test_verdicts_that_cannot_be_written_name_their_file(flag: str, here: Path) -> None:
    said = wrong(bench("compare", QUICKSTART, QUICKSTART, flag, here))
    assert said == f"{here}: cannot be written: Is a directory"


def test_statistics_in_place_of_the_table_and_another_reference(here: Path) -> None:
    toy.write(here, seeds="[0, 1]")
    bench("run", "toy.yaml", *IN_PLACE)
    found = bench("report", "toy.yaml", "--statistics", "--tolerance", 3)
    assert found.exit_code == 0
    assert re.search(r"^Student +2 .*\[.*\] +\S+ +(worse|same|inconclusive)", found.stdout, re.M)
    assert "a difference of more than 3 points is ruled out" in " ".join(found.stdout.split())
    assert found.stdout.endswith("toy-statistics.md, results/toy-statistics.tex, "
                                 "results/toy-statistics.csv\n")  # fmt: skip
    other = bench("report", "toy.yaml", "--statistics", "--versus", "student").stdout
    assert "Difference to Student" in other
    said = wrong(bench("report", "toy.yaml", "--versus", "kdd"))
    assert said == "no method 'kdd'. Did you mean 'kd'? Allowed: kd, student"


def test_a_part_of_a_suite_does_not_replace_the_whole(here: Path) -> None:
    toy.write(here)
    bench("run", "toy.yaml", *IN_PLACE)
    whole = (here / "results" / "toy.md").read_text()
    found = bench("run", "toy.yaml", "--filter", "method=kd", *IN_PLACE)
    assert "Changed suite: method=kd." in " ".join(found.stdout.split())
    assert (here / "results" / "toy-part.md").exists()
    assert (
        bench("report", "toy.yaml", "--seeds", 0)
        .stdout.splitlines()[-1]
        .startswith("written: results/toy-part.md")
    )
    assert (here / "results" / "toy.md").read_text() == whole


MISTAKES = [
    ("run nothing", "nothing: no such suite. Allowed: a suite file, "),
    ("run quikstart", "quikstart: no such suite. Did you mean 'quickstart'?"),
    ("run .", ".: a folder. Allowed: a suite file"),
    ("run empty.yaml", "empty.yaml:1"),
    ("run toy.yaml --filter method=kdd", "--filter method=kdd: no method 'kdd'. Did you mean 'kd'"),
    ("plan toy.yaml --filter metod=kd", "--filter metod=kd: no key 'metod'. Did you mean 'method'"),
    ("run toy.yaml --set recipe.epoch=2", "--set recipe.epoch=2: no key 'epoch'. Did you mean"),
    ("run toy.yaml --set recipe.epochs", "--set recipe.epochs: no change. Allowed: key=value"),
    (
        "run toy.yaml --set recipe.epochs=no",
        "--set recipe.epochs=no: found the text 'no'. Allowed:",
    ),
    ("run toy.yaml --seeds 0,0", "--set seeds=[0, 0]: found 0 more than once"),
    ("report toy.yaml --metric agrement", "no metric 'agrement'. Did you mean 'agreement'?"),
    ("report toy.yaml --format md,htm", "no format 'htm'. Did you mean 'html'? Allowed:"),
    ("list method", "bench list method: no list 'method'. Did you mean 'methods'? Allowed:"),
    ("ui --results nowhere", "nowhere/mlflow.db: no MLflow store there; `bench run SUITE"),
    ("run toy.yaml --results toy.yaml/x --inline", "toy.yaml/x: cannot be written to"),
    ("show nope.yaml", "nope.yaml: no such suite"),
    ("teachers nope", "nope: no such suite"),
]


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_a_sentence(line: str, said: str, here: Path) -> None:
    results = Results(here / "results")
    whole = toy.plan(here)
    (here / "empty.yaml").touch()
    run = next(iter(whole.runs.values()))
    results.write(Task(run.id, "t", run.specification).record("failed", "none"))
    assert wrong(bench(*line.split())).startswith(said)


USAGE = [
    ("rum toy.yaml", "No such command 'rum'. Did you mean 'run'?"),
    ("run", "Missing argument"),
    ("run toy.yaml --worker 3", "No such option: --worker"),
    ("run toy.yaml --workers 0", "Invalid value for '--workers'"),
    ("run toy.yaml --limit 0", "Invalid value for '--limit'"),
    ("run toy.yaml --view nice", "Invalid value for '--view'"),
    ("run toy.yaml --tracker x", "Invalid value for '--tracker'"),
    ("run toy.yaml --overwrite x", "Invalid value for '--overwrite'"),
    ("run toy.yaml --gpus x", "found 'x'. Allowed: numbers with commas between, such as 0,1"),
    ("run toy.yaml --gpus 0,,1", "found '0,,1'. Allowed: numbers with commas between"),
    ("run toy.yaml --seeds 0-", "found '0-' in '0-'. Allowed: whole numbers and ranges"),
    ("run toy.yaml --seeds 2-1", "found '2-1' in '2-1'. Allowed: whole numbers and ranges"),
    ("run toy.yaml --seeds 0-9999999", "at most 1000"),
    ("status toy.yaml --results toy.yaml", "Invalid value for '--results'"),
]


@pytest.mark.parametrize(("line", "said"), USAGE, ids=[line for line, _ in USAGE])
def test_a_wrong_flag_is_told_with_what_is_allowed(line: str, said: str, here: Path) -> None:
    toy.write(here)
    assert said in " ".join(wrong(bench(*line.split())).split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_costs_nothing_that_is_done(here: Path) -> None:
    toy.write(here)
    bench("run", "toy.yaml", *IN_PLACE)
    said = wrong(bench("run", "toy.yaml", "--gpus", 0, "--overwrite", "always", *IN_PLACE))
    assert said.startswith("--gpus: no GPU 0. Allowed: none, for the CPU")
    assert bench("status", "toy.yaml").stdout.startswith("toy: 3 done\n")
    assert bench("run", "toy.yaml", "--gpus", "none", "--dry-run").exit_code == 0


def test_seeds_in_place_of_the_suites(here: Path) -> None:
    toy.write(here)
    found = json.loads(bench("plan", "toy.yaml", "--seeds", "0-1, 7", "--json").stdout)
    names = [run["name"] for run in found["runs"] if "kd" in run["name"]]
    assert names == [f"resnet8/resnet8 kd seed {seed}" for seed in (0, 1, 7)]
    assert "seeds: [3]  # command line" in re.sub(
        " +#", "  #", bench("show", "toy.yaml", "--seeds", 3).stdout
    )


def test_validate_tells_all_mistakes_of_all_suites(here: Path) -> None:
    toy.write(here, seeds="[0, 1, 2]", options="")
    (here / "bad.yaml").write_text("title: 3\nsead: 1\n")
    found = bench("validate", "toy.yaml", "bad.yaml", "nope")
    assert found.exit_code == 2
    assert found.stdout.splitlines()[0] == "toy.yaml: good"
    assert "bad.yaml:2  sead: no key 'sead'. Did you mean 'seeds'?" in found.stderr
    assert "nope: no such suite" in found.stderr
    assert bench("validate", "quickstart").exit_code == 0


def test_clean_shows_first_and_removes_when_told(here: Path) -> None:
    assert bench("clean").stdout == "results: nothing to remove\n"
    torn = here / "results" / "runs" / ".a.json.1.part"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"x" * 100_000)
    told = bench("clean").stdout.splitlines()
    assert told[0] == f"would remove {torn.relative_to(here)}"
    assert told[1] == "results: 1 file, 0.1 MB; --yes removes them"
    assert torn.exists()
    assert bench("clean", "--yes").stdout.splitlines()[1] == "results: 1 file, 0.1 MB"
    assert not torn.exists()


def test_a_plugin_is_in_every_verb(here: Path) -> None:
    (here / "mine.py").write_text("1 / 0\n")
    toy.write(here, plugins="[mine.py]")
    for verb in ("run", "plan", "status", "report", "show", "validate", "teachers"):
        found = bench(verb, "toy.yaml")
        assert found.exit_code == 2
        assert "toy.yaml:" in found.stderr
        assert "plugins.0: mine.py:1: ZeroDivisionError: division by zero" in found.stderr
