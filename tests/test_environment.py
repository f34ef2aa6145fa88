"""The environment that a record describes."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from bench.results import environment

CPU = torch.device("cpu")


def test_environment_names_versions_precision_and_threads() -> None:
    described = environment.environment(CPU, "bf16")
    assert json.loads(json.dumps(described)) == described
    assert described["torch"] == torch.__version__
    assert described["precision"] == "bf16"
    assert described["threads"] == torch.get_num_threads()
    assert described["cuda"] is None
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", str(described["python"]))
    assert set(described) >= {"bench", "commit", "torchvision", "timm", "device", "system"}


def test_device_name_of_a_cpu_names_the_processor() -> None:
    assert re.fullmatch(r"CPU .+", environment.device_name(CPU))


def test_commit_is_that_of_this_source_tree() -> None:
    root = Path(__file__).parents[1]
    commit = environment.commit()
    if (root / ".git").exists():
        assert commit is not None
        assert re.fullmatch(r"[0-9a-f]{40}\+?", commit)


def test_peak_memory_counts_the_bytes_of_this_process() -> None:
    before = environment.peak_memory(CPU)
    tensor = torch.ones(50_000_000)
    assert 50e6 < before < 100e9
    assert environment.peak_memory(CPU) >= max(before, tensor.nbytes)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the parent's memory counts as well")
def test_peak_memory_does_not_count_the_parent() -> None:
    tensor = torch.ones(400_000_000)
    code = """if True:
        import torch
        from bench.results.environment import peak_memory
        print(peak_memory(torch.device("cpu")))"""
    root = str(Path(__file__).parents[1])
    output = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True)
    assert int(output) < tensor.nbytes


def test_now_is_utc_to_the_second() -> None:
    now = datetime.fromisoformat(environment.now())
    assert now.utcoffset() == UTC.utcoffset(None)
    assert now.microsecond == 0
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60
