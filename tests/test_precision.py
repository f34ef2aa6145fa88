"""`bench plan` and `bench run` warn of a precision that is slower than float32 on this machine."""

import json
from pathlib import Path

import pytest

from tests import toy
from tests.command import bench

PLUGIN = """
import time
from pathlib import Path

import torch

MEASURED = Path(__file__).with_name("measured")  # one letter a forward pass of a full batch


class Burning(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, classes))

    def forward(self, images):
        if len(images) == 16:
            with MEASURED.open("a") as file:
                file.write("x")
            begin = time.process_time()
            slow = torch.is_autocast_enabled("cpu") == {slow_in_bf16}
            while time.process_time() - begin < (0.04 if slow else 0.01):
                pass
        return self.net(images)


NETWORKS = {{"burning": Burning}}
"""
WARNING = "warning: precision: bf16 is slower than float32 on CPU "


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite in bf16 whose networks take 4 times the time in bf16."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write(tmp_path, slow_in_bf16=True)


def write(folder: Path, *, slow_in_bf16: bool) -> Path:
    (folder / "burning.py").write_text(PLUGIN.format(slow_in_bf16=slow_in_bf16))
    return toy.write(
        folder,
        plugins="[burning.py]",
        pairs="[{teacher: burning, student: burning}]",
        recipe="{epochs: 1, batch_size: 16, crop: 0, flip: false, precision: bf16}",
    )


def measured(suite: Path) -> int:
    path = suite.with_name("measured")
    return len(path.read_text()) if path.exists() else 0


def test_plan_warns_with_both_times_and_measures_a_machine_once(suite: Path) -> None:
    arguments = "plan", suite, "--results", suite.with_name("results")
    content = json.loads(bench(*arguments, "--json").stdout)
    [warning] = content["warnings"]
    assert f"warning: {warning}".startswith(WARNING)
    asked, float32 = (float(part.split()[-1]) for part in warning.split(" ms")[:2])
    assert 1.5 < asked / float32 < 5
    assert "burning's forward pass, burning's forward and backward pass" in warning
    assert "Set precision: float32 in the recipe" in warning
    count = measured(suite)
    assert count > 0
    assert WARNING in bench(*arguments).stdout
    assert measured(suite) == count


@pytest.mark.slow
def test_changed_network_is_measured_again(suite: Path) -> None:
    arguments = "plan", suite, "--results", suite.with_name("results")
    bench(*arguments)
    count = measured(suite)
    write(suite.parent, slow_in_bf16=False)
    assert WARNING not in bench(*arguments).stdout
    assert measured(suite) > count


@pytest.mark.slow
def test_run_warns_and_keeps_the_precision(suite: Path) -> None:
    results = suite.with_name("results")
    printed = bench("run", suite, "--results", results, "--tracker", "none", "--gpus", "none",
                    "--inline")  # fmt: skip
    assert printed.stdout.count(WARNING) == 1
    records = [json.loads(path.read_text()) for path in (results / "runs").iterdir()]
    assert {record["environment"]["precision"] for record in records} == {"bf16"}
    assert WARNING not in bench("plan", suite, "--results", results).stdout  # nothing to do


def test_float32_is_not_measured(suite: Path) -> None:
    changes = "--set", "recipe.precision=float32"
    bench("plan", suite, "--results", suite.with_name("results"), *changes)
    assert measured(suite) == 0


def test_failed_measurement_is_a_warning_with_the_reason(suite: Path) -> None:
    plugin = suite.with_name("burning.py")
    failing = 'raise RuntimeError("no such instruction")'
    plugin.write_text(plugin.read_text().replace("begin = time.process_time()", failing))
    printed = bench("plan", suite, "--results", suite.with_name("results")).stdout
    assert "bf16 could not be compared with float32: RuntimeError: no such instruction" in printed
