"""`python -m tests.benchmarks gpu` resumes, stops parts at their limits, and reports the GPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import soak
from tests.benchmarks import gpu
from tests.benchmarks.gpu import Part, Record
from tests.command import ROOT, alive

ENDS = ("-c", "print('the result')")
FAILS = ("-c", "raise SystemExit(3)")
# A child in the same group ignores SIGTERM; its id is the last word of the output.
HANGS = (
    "-c",
    "import subprocess, sys, time;"
    "ignoring = 'import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)';"
    "child = subprocess.Popen([sys.executable, '-uc', ignoring], stdout=subprocess.PIPE);"
    "child.stdout.readline(); print('partial output', child.pid, flush=True); time.sleep(99)",
)


def part(name: str, command: tuple[str, ...], *, minutes: float = 1, resumes: bool = False) -> Part:
    return Part(name, name, minutes, 60, command, command, resumes)


def states(folder: Path) -> dict[str, str]:
    content = json.loads((folder / "state.json").read_text())
    return {name: entry["state"] for name, entry in content.items()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    (tmp_path / "data" / "cifar-100-python" / "train").touch()
    return tmp_path / "data"


def test_next_call_continues_and_repeats_failures_last(tmp_path: Path, data: Path) -> None:
    listed = [part("a", FAILS), part("b", ENDS), part("c", ENDS, minutes=30)]
    record = Record(tmp_path)
    assert not gpu.run_parts(list(listed), record, 20, data, "H100")
    assert states(tmp_path) == {"a": "failed, exit code 3", "b": "done"}  # c does not fit
    record = Record(tmp_path)
    todo = [each for each in listed if record.state(each) != "done"]
    next_one = gpu.next_part(todo, record, 3600, data)
    assert next_one is not None
    assert next_one[0].name == "c"
    gpu.run_parts(todo, record, 60, data, "H100")
    assert states(tmp_path) == {"a": "failed, exit code 3", "b": "done", "c": "done"}
    entries = json.loads((tmp_path / "state.json").read_text())
    assert {name: entry["attempts"] for name, entry in entries.items()} == {"a": 2, "b": 1, "c": 1}
    assert "the result" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow
def test_part_is_stopped_with_its_children_and_keeps_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "STOP_S", 0.2)
    entry = gpu.run_part(part("a", HANGS), HANGS, 8.0, tmp_path, "H100")
    assert entry["state"] == "stopped at its limit"
    words = (tmp_path / "a.log").read_text().split()
    assert words[:2] == ["partial", "output"]
    deadline = time.monotonic() + 10
    while alive(int(words[2])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(words[2]))


def test_part_that_resumes_waits_for_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record(tmp_path)
    assert gpu.run_parts([part("pair", ENDS, resumes=True)], record, 9, tmp_path / "data", "H100")
    assert "cifar-100-python" in capsys.readouterr().out
    assert not (tmp_path / "state.json").exists()


def test_utilisation_and_memory_come_from_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '10, 500\\n90, 700\\n[N/A], 1\\n70, 600\\n'; sleep 99\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    wait = ("-c", "import time; time.sleep(1)")
    record, each = Record(tmp_path), part("a", wait)
    record.write(each, gpu.run_part(each, wait, 60, tmp_path, "H100"))
    assert "| a | done |" in (tmp_path / "gpu.md").read_text()
    assert "| 70 % | 700 MiB | H100 |" in (tmp_path / "gpu.md").read_text()


def test_missing_packages_are_named_with_the_way_to_install_them() -> None:
    script = "from tests.benchmarks import gpu; gpu.main(['--only', 'tests'])"
    command = [sys.executable, "-S", "-c", script]  # without site-packages
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert "torch>=2.6 (not installed)" in result.stderr
    assert "mlflow" not in result.stderr
    assert "pip install -q --no-index --no-deps --target /tmp/site .whl/*.whl" in result.stderr
    assert gpu.missing_packages() == []


def test_versions_are_compared_by_their_numbers() -> None:
    assert gpu.numbers("2.11.0+cu130") == [2, 11, 0]
    assert gpu.numbers("2.11.0+cu130") > gpu.numbers("2.6")


def test_graphs_are_used_only_if_they_are_faster(tmp_path: Path) -> None:
    assert not gpu.graphs_pay(tmp_path)
    for ratios, pays in (([1.1, 1.1, 9.0], False), ([1.3, 1.4, 1.0], True)):
        rows = [{"what": "kd, bf16, graphs", "ratios": ratios}]
        (tmp_path / "graphs.json").write_text(json.dumps({"rows": rows}))
        assert gpu.graphs_pay(tmp_path) == pays


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.skipif(not soak.LONG, reason="takes a minute: tox -e soak")
def test_each_part_runs_in_its_small_form_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "gpu", "--check", "--folder", tmp_path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    names = [each.name for each in gpu.parts()]
    assert states(tmp_path / "check") == dict.fromkeys(names, "done")
    for name in names[1:-1]:
        assert json.loads((tmp_path / "check" / f"{name}.json").read_text())["rows"]
    records = (tmp_path / "check" / "pair" / "runs").iterdir()
    assert {json.loads(path.read_text())["status"] for path in records} == {"done"}


@pytest.mark.slow
def test_sigterm_ends_the_part_and_is_recorded(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.benchmarks import gpu\n"
        "gpu.STOP_S = 0.2\n"
        f"gpu.parts = lambda: [gpu.Part('a', 'a', 1, 60, {HANGS}, {HANGS})]\n"
        f"gpu.main(['--check', '--folder', {str(tmp_path)!r}])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    log = tmp_path / "check" / "a.log"
    while not (log.exists() and log.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert states(tmp_path / "check") == {"a": "interrupted"}
