"""What a record says of where it was made."""

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


def test_all_that_a_reader_must_know_is_there() -> None:
    found = environment.environment(CPU, "bf16")
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__
    assert found["precision"] == "bf16"
    assert found["threads"] == torch.get_num_threads()
    assert found["cuda"] is None, "nothing ran on a GPU"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", found["python"])
    assert set(found) >= {"bench", "commit", "torchvision", "timm", "device", "system"}


def test_the_device_is_a_processor_with_a_name() -> None:
    assert re.fullmatch(r"CPU .+", environment.device_name(CPU))


def test_the_commit_is_that_of_this_tree() -> None:
    commit = environment.commit()
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}\+?", commit)


def test_memory_is_bytes_of_a_process_that_holds_torch() -> None:
    before = environment.peak_memory(CPU)
    held = torch.ones(50_000_000)
    assert 50e6 < before < 100e9
    assert environment.peak_memory(CPU) >= max(before, held.nbytes)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count a parent's memory, too")
def test_memory_is_not_that_of_the_parent() -> None:
    held = torch.ones(400_000_000)
    code = """if True:
        import torch
        from bench.environment import peak_memory
        print(peak_memory(torch.device("cpu")))"""
    root = str(Path(__file__).parents[1])
    found = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True)
    assert int(found) < held.nbytes


def test_times_are_utc_to_the_second() -> None:
    now = datetime.fromisoformat(environment.now())
    assert now.utcoffset() == UTC.utcoffset(None)
    assert now.microsecond == 0
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60
