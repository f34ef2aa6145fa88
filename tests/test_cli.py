"""The command line: what is printed where, and with which exit code."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench.cli.app import VERBS
from bench.execution.protocol import Task
from bench.results import Results
from tests import toy
from tests.command import alive, bench, children, process, wrong

ROOT = Path(__file__).parents[1]
LARGE = ["torch", "torchvision", "timm", "mlflow", "pandas", "matplotlib", "scipy"]
HEAVY = ["bench.api", *LARGE, "pydantic", "rich", "yaml", "tabulate"]
QUICKSTART = ROOT / "results" / "quickstart"
IN_PLACE = ("--inline", "--tracker", "none")


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from bench.cli.app import main; sys.argv[1:] = ['--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print('imported', *(name for name in {HEAVY} if name in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.startswith("Usage: bench")
    assert ran.stdout.splitlines()[-1] == "imported"


def test_help_of_verbs_imports_neither_torch_nor_other_large_packages() -> None:
    code = (
        "import sys; from bench.cli.app import VERBS, app\n"
        "for verb in VERBS: app([verb, '--help'], standalone_mode=False)\n"
        f"print('imported', *(name for name in {LARGE} if name in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert [ran.stdout.count(f"Example: bench {verb}") for verb in VERBS] == [1] * len(VERBS)
    assert ran.stdout.splitlines()[-1] == "imported"


def test_help_shows_every_verb() -> None:
    text = bench("--help").stdout
    for verb, summary in VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(summary)}$", text, re.M)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_begins_with_its_summary_and_ends_with_an_example(verb: str) -> None:
    text = bench(verb, "--help").stdout
    assert text.split("\n\n")[1].strip() == VERBS[verb]
    assert re.search(rf"^  Example: bench {verb}( |$)", text, re.M)


def test_bug_exits_with_code_5_and_a_traceback() -> None:
    code = (
        "import sys, types; from bench.cli.app import VERBS, main\n"
        "def broken(): raise RecursionError('ours')\n"
        "VERBS['broken'] = ''\n"
        "sys.modules['bench.cli.broken'] = types.SimpleNamespace(command=broken)\n"
        "main()"
    )
    command = [sys.executable, "-c", code, "broken"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 5
    assert ran.stderr.startswith("Traceback")
    assert ran.stderr.endswith("RecursionError: ours\n")


def test_broken_pipe_does_not_exit_with_code_1() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "list", "suites"], cwd=ROOT, stdout=writer,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


def test_no_arguments_print_help() -> None:
    result = bench()
    assert result.exit_code == 2
    assert "Usage: bench" in result.output


def test_run_makes_a_table_and_repeats_nothing(here: Path) -> None:
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
    assert again.stdout.splitlines()[0] == "toy: nothing to do, all 3 runs have a record"
    assert out.partition("\nToy\n")[2] == again.stdout.partition("\nToy\n")[2]
    assert bench("report", "toy.yaml").stdout == again.stdout.partition("\n")[2]
    assert bench("status", "toy.yaml").stdout.startswith("toy: 3 done\n")
    assert bench("plan", "toy.yaml").stdout.splitlines()[1] == "nothing to do"


@pytest.mark.slow
def test_interrupt_ends_workers_and_says_how_to_resume(here: Path) -> None:
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
    assert err == "interrupted; run the same command again to resume\n"
    assert json.loads(out.splitlines()[-1])["event"] == "closed"
    end = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert list((here / "results" / "state").glob("*.safetensors")), "checkpoints to resume from"


def test_limit_runs_one_student_and_its_teacher(here: Path) -> None:
    toy.write(here)
    result = bench("run", "toy.yaml", "--limit", 1, *IN_PLACE)
    assert result.exit_code == 0
    assert "toy: 2 done, after" in result.stdout
    assert bench("status", "toy.yaml").stdout.startswith("toy: 2 done, 1 to do\n")
    assert "toy: 1 done, after" in bench("run", "toy.yaml", *IN_PLACE).stdout


def test_json_lines_for_scripts(here: Path) -> None:
    toy.write(here)
    for arguments in (["--json"], ["--view", "json"]):
        result = bench("run", "toy.yaml", *IN_PLACE, *arguments, "--overwrite", "always")
        events = [json.loads(line) for line in result.stdout.splitlines()]
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


def test_diverged_run_exits_with_code_3_and_is_a_footnote(here: Path) -> None:
    toy.write(here, methods="{student: papers, bad: {ce: 1.0e+38}}")
    result = bench("run", "toy.yaml", *IN_PLACE)
    assert result.exit_code == 3
    assert re.search(r"^bad +diverged \[a\]$", result.stdout, re.M)
    assert "diverged at epoch 1" in result.stdout
    assert bench("run", "toy.yaml", *IN_PLACE).exit_code == 3, "it is still so"
    assert bench("report", "toy.yaml").exit_code == 0
    assert "diverged: resnet8/resnet8 bad seed 0: diverged" in bench("status", "toy.yaml").stdout


def test_impossible_run_is_skipped_and_not_a_failure(here: Path) -> None:
    toy.write(here, methods="[student, crd]", options="{crd: {negatives: 79}}")
    assert (
        "skipped: resnet8/resnet8 crd seed 0: found negatives 79"
        in bench("plan", "toy.yaml").stdout
    )
    for _ in range(2):
        result = bench("run", "toy.yaml", *IN_PLACE)
        assert result.exit_code == 0
        assert re.search(r"^CRD.* skipped \[\w\]$", result.stdout, re.M)


def test_damaged_record_is_repeated(here: Path) -> None:
    toy.write(here)
    bench("run", "toy.yaml", *IN_PLACE)
    (path, *_) = sorted((here / "results" / "runs").glob("*.json"))
    results, run = Results(here / "results"), path.stem
    before = toy.numbers(results.record(run))
    path.write_text(path.read_text()[:200])
    assert "toy: 1 done, after" in bench("run", "toy.yaml", *IN_PLACE).stdout
    assert toy.numbers(results.record(run)) == before


def test_plan_needs_no_data_but_run_does(here: Path) -> None:
    toy.write(here, dataset="tiny_imagenet")
    for arguments in (["plan", "toy.yaml"], ["run", "toy.yaml", "--dry-run"]):
        assert bench(*arguments, "--data-root", here).stdout.startswith("toy: 2 students (2 to do)")
    message = wrong(bench("run", "toy.yaml", "--data-root", here, *IN_PLACE))
    assert message.startswith("tiny_imagenet: ")
    assert str(here) in message
    assert "\n" not in message
    assert wrong(bench("run", "toy.yaml", *IN_PLACE, BENCH_DATA=str(here))) == message


def test_report_without_records_is_an_error(here: Path) -> None:
    toy.write(here)
    message = wrong(bench("report", "toy.yaml", "--results", "nowhere"))
    assert message.startswith("nowhere: none of the 3 selected runs has a record")
    assert "`bench run toy.yaml --results nowhere`" in message
    assert not (here / "nowhere").exists()


@pytest.mark.case("pasted-command")
@pytest.mark.parametrize("name", ["it's toy.yaml", "-toy.yaml"])
def test_the_command_in_a_message_has_all_options(name: str, here: Path) -> None:
    toy.write(here).rename(here / name)
    options = ["--results", "no pe", "--set", "seeds=[7]", "--filter", "method=kd|student"]
    message = wrong(bench("report", *options, "--", name))
    command = re.search(r"`(bench run .*?)`", message)
    assert command
    words = shlex.split(command[1])
    assert words[2:] == ([*options, "--", name] if name[0] == "-" else [name, *options])
    result = bench("run", "--dry-run", *words[2:])
    assert result.exit_code == 0
    assert "2 students (2 to do)" in result.stdout


def test_formats_may_be_separated_by_a_comma_and_a_blank(here: Path) -> None:
    message = wrong(bench("report", "quickstart", "--format", "md, texx"))
    assert message.startswith("no format 'texx'")


@pytest.mark.parametrize("more", [(), ("--statistics",)])
def test_table_that_cannot_be_written_is_printed_and_its_file_named(
    more: tuple[str, ...], here: Path
) -> None:
    results = Results(here / "results")
    for run in toy.plan(here).runs.values():
        results.write(Task(run.id, "t", run.specification).record("failed", "none"))
    kind = "".join(more).replace("--", "-")
    (here / f"results/toy{kind}.md").mkdir()
    result = bench("report", "toy.yaml", *more)
    assert result.exit_code == 2
    assert result.stderr == f"results/toy{kind}.md: cannot be written: Is a directory\n"
    assert len(result.stdout.splitlines()) > 5


@pytest.mark.parametrize("flag", ["--junit", "--markdown"])
def test_verdicts_that_cannot_be_written_are_shown_and_their_file_is_named(
    flag: str, here: Path
) -> None:
    result = bench("compare", QUICKSTART, QUICKSTART, flag, here)
    assert result.exit_code == 2
    assert result.stderr == f"{here}: cannot be written: Is a directory\n"
    assert result.stdout.startswith("compared (")


def test_report_prints_statistics_and_compares_with_another_method(here: Path) -> None:
    toy.write(here, seeds="[0, 1]")
    bench("run", "toy.yaml", *IN_PLACE)
    result = bench("report", "toy.yaml", "--statistics", "--tolerance", 3)
    assert result.exit_code == 0
    assert re.search(r"^Student +2 .*\[.*\] +\S+ +(worse|same|inconclusive)", result.stdout, re.M)
    assert "a difference of more than 3 points is ruled out" in " ".join(result.stdout.split())
    assert result.stdout.endswith("toy-statistics.md, results/toy-statistics.tex, "
                                 "results/toy-statistics.csv\n")  # fmt: skip
    text = bench("report", "toy.yaml", "--statistics", "--versus", "student").stdout
    assert "Difference to Student" in text
    message = wrong(bench("report", "toy.yaml", "--versus", "kdd"))
    assert message == "no method 'kdd'. Did you mean 'kd'? Allowed: kd, student"


def test_filtered_suite_does_not_overwrite_the_table(here: Path) -> None:
    toy.write(here)
    bench("run", "toy.yaml", *IN_PLACE)
    table = (here / "results" / "toy.md").read_text()
    result = bench("run", "toy.yaml", "--filter", "method=kd", *IN_PLACE)
    assert "Changed suite: method=kd." in " ".join(result.stdout.split())
    assert (here / "results" / "toy-part.md").exists()
    assert (
        bench("report", "toy.yaml", "--seeds", 0)
        .stdout.splitlines()[-1]
        .startswith("written: results/toy-part.md")
    )
    assert (here / "results" / "toy.md").read_text() == table


MISTAKES = [
    ("run nothing", "nothing: no such suite. Allowed: a suite file, "),
    ("run quikstart", "quikstart: no such suite. Did you mean 'quickstart'?"),
    ("run .", ".: a folder. Allowed: a suite file"),
    ("run empty.yaml", "empty.yaml:1"),
    ("run toy.yaml --filter method=kdd", "--filter method=kdd: no method 'kdd'. Did you mean 'kd'"),
    ("plan toy.yaml --filter metod=kd", "--filter metod=kd: no key 'metod'. Did you mean 'method'"),
    ("run toy.yaml --set recipe.epoch=2", "--set recipe.epoch=2: no key 'epoch'. Did you mean"),
    ("run toy.yaml --set recipe.epochs", "--set recipe.epochs: not a change. Allowed: key=value"),
    (
        "run toy.yaml --set recipe.epochs=no",
        "--set recipe.epochs=no: found the text 'no'. Allowed:",
    ),
    ("run toy.yaml --seeds 0,0", "--set seeds=0,0: found 0 more than once"),
    ("report toy.yaml --metric agrement", "no metric 'agrement'. Did you mean 'agreement'?"),
    ("report toy.yaml --format md,htm", "no format 'htm'. Did you mean 'html'? Allowed:"),
    ("list method", "bench list method: no list 'method'. Did you mean 'methods'? Allowed:"),
    ("ui --results nowhere", "nowhere/mlflow.db: no MLflow store; `bench run SUITE"),
    ("run toy.yaml --results toy.yaml/x --inline", "toy.yaml/x: cannot be written to"),
    ("show nope.yaml", "nope.yaml: no such suite"),
    ("teachers nope", "nope: no such suite"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_mistake_is_a_sentence_on_standard_error(line: str, message: str, here: Path) -> None:
    results = Results(here / "results")
    plan = toy.plan(here)
    (here / "empty.yaml").touch()
    run = next(iter(plan.runs.values()))
    results.write(Task(run.id, "t", run.specification).record("failed", "none"))
    assert wrong(bench(*line.split())).startswith(message)


USAGE = [
    ("rum toy.yaml", "No such command 'rum'. Did you mean 'run'?"),
    ("run", "Missing argument"),
    ("run toy.yaml --worker 3", "--workers"),
    ("run toy.yaml --workers 0", "Invalid value for '--workers'"),
    ("run toy.yaml --limit 0", "Invalid value for '--limit'"),
    ("run toy.yaml --view nice", "Invalid value for '--view'"),
    ("run toy.yaml --tracker x", "Invalid value for '--tracker'"),
    ("run toy.yaml --overwrite x", "Invalid value for '--overwrite'"),
    ("run toy.yaml --gpus x", "found 'x'. Allowed: numbers separated by commas, such as 0,1"),
    ("run toy.yaml --gpus 0,,1", "found '0,,1'. Allowed: numbers separated by commas"),
    ("run toy.yaml --seeds 0-", "--set seeds=0-: found the text '0-'. Allowed: a list of whole"),
    ("run toy.yaml --seeds 2-1", "--set seeds=2-1: found the text '2-1'. Allowed: a list of"),
    ("run toy.yaml --seeds 0-9999999", "at most 1000"),
    ("status toy.yaml --results toy.yaml", "Invalid value for '--results'"),
]


@pytest.mark.parametrize(("line", "message"), USAGE, ids=[line for line, _ in USAGE])
def test_wrong_flag_names_allowed_values(line: str, message: str, here: Path) -> None:
    toy.write(here)
    assert message in " ".join(wrong(bench(*line.split())).split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_missing_gpu_keeps_finished_records(here: Path) -> None:
    toy.write(here)
    bench("run", "toy.yaml", *IN_PLACE)
    message = wrong(bench("run", "toy.yaml", "--gpus", 0, "--overwrite", "always", *IN_PLACE))
    assert message.startswith("--gpus: no GPU 0. Allowed: none (the CPU)")
    assert bench("status", "toy.yaml").stdout.startswith("toy: 3 done\n")
    assert bench("run", "toy.yaml", "--gpus", "none", "--dry-run").exit_code == 0


def test_seeds_replace_those_of_the_suite(here: Path) -> None:
    toy.write(here)
    plan = json.loads(bench("plan", "toy.yaml", "--seeds", "0-1, 7", "--json").stdout)
    names = [run["name"] for run in plan["runs"] if "kd" in run["name"]]
    assert names == [f"resnet8/resnet8 kd seed {seed}" for seed in (0, 1, 7)]
    assert "seeds: [3]  # command line" in re.sub(
        " +#", "  #", bench("show", "toy.yaml", "--seeds", 3).stdout
    )


def test_validate_reports_all_mistakes_of_all_suites(here: Path) -> None:
    toy.write(here, seeds="[0, 1, 2]", options="")
    (here / "bad.yaml").write_text("title: 3\nsead: 1\n")
    result = bench("validate", "toy.yaml", "bad.yaml", "nope")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[0] == "toy.yaml: valid"
    assert "bad.yaml:2  sead: no key 'sead'. Did you mean 'seeds'?" in result.stderr
    assert "nope: no such suite" in result.stderr
    assert bench("validate", "quickstart").exit_code == 0


@pytest.mark.case("clean-failed")
def test_clean_keeps_the_checkpoint_of_a_failed_run(here: Path) -> None:
    results = Results(here / "results")
    for status in ("failed", "done", "diverged"):
        results.write(toy.record(status, status=status, reason="x"))
        results.save_state(status, b"state")
    lines = bench("clean").stdout
    assert "state/done.safetensors" in lines
    assert "state/diverged.safetensors" in lines
    assert "state/failed.safetensors" not in lines
    bench("clean", "--yes")
    assert results.read_state("failed") == b"state"


def test_clean_removes_files_only_with_yes(here: Path) -> None:
    assert bench("clean").stdout == "results: nothing to remove\n"
    torn = here / "results" / "runs" / ".a.json.1.part"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"x" * 100_000)
    lines = bench("clean").stdout.splitlines()
    assert lines[0] == f"would remove {torn.relative_to(here)}"
    assert lines[1] == "results: 1 file, 0.1 MB; --yes removes them"
    assert torn.exists()
    assert bench("clean", "--yes").stdout.splitlines()[1] == "results: 1 file, 0.1 MB"
    assert not torn.exists()


def test_every_verb_loads_plugins(here: Path) -> None:
    (here / "mine.py").write_text("1 / 0\n")
    toy.write(here, plugins="[mine.py]")
    for verb in ("run", "plan", "status", "report", "show", "validate", "teachers"):
        result = bench(verb, "toy.yaml")
        assert result.exit_code == 2
        assert "toy.yaml:" in result.stderr
        assert "plugins.0: mine.py:1: ZeroDivisionError: division by zero" in result.stderr
