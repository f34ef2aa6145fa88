"""Too little memory: a cohort goes on in parts, and a student that is too big fails alone."""

import re
from pathlib import Path

import pytest
import torch

from bench.results import Results
from bench.training.oom import describe_oom, is_out_of_memory
from tests import soak, toy
from tests.faults.commands import Commands

HOARD = '''
"""A distiller that holds memory: under a limit of its process, from its first batch on."""

import resource
from pathlib import Path

import torch

from distillers import Distiller

LEFT = 400 * 2**20  # bytes that the process may still have when the first batch comes


class Hoard(Distiller):
    """L = 0 · z_s, with so many megabytes held."""

    paper = "None"
    reads = ("logits",)
    limited = False

    def __init__(self, setting, *, megabytes: int = 1) -> None:
        super().__init__(setting)
        self.megabytes = megabytes
        self.held = None

    def forward(self, student, teacher, batch):
        if not Hoard.limited and Path("limited").exists():
            Hoard.limited = True
            pages = int(open("/proc/self/statm").read().split()[0])
            most = pages * resource.getpagesize() + LEFT
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        if self.held is None:
            self.held = torch.zeros(self.megabytes * 2**20, dtype=torch.uint8)
        return 0.0 * student.logits.mean()
'''
SMALL = ", ".join(
    f"{name}: {{ce: 1, hoard: {{weight: {weight}, megabytes: 150}}}}"
    for weight, name in enumerate("abcd", 1)
)
BIG = "big: {ce: 1, hoard: {weight: 1, megabytes: 10000000}}"
SAID = r"out of memory on {}, {} GiB more were needed, [\d.]+ GiB of [\d.]+ GiB were free"


@pytest.mark.soak
@pytest.mark.parametrize("how", [("--inline",), *([("--workers", 1)] if soak.LONG else [])])
def test_a_cohort_is_split_until_only_what_is_too_big_fails(
    how: tuple[object, ...], commands: Commands, tmp_path: Path
) -> None:
    (tmp_path / "hoard.py").write_text(HOARD)
    toy.write(tmp_path, methods=f"{{{SMALL}, {BIG}}}", plugins="[hoard.py]")
    run = ("run", "toy.yaml", "--tracker", "none", "--json", *how)
    (tmp_path / "limited").touch()
    commands.start(*run)
    assert commands.end() == 3, commands.said
    notices = [event["text"] for event in commands.events if event["event"] == "notice"]
    assert notices[0].startswith(
        "resnet8/resnet8 a seed 0 and 4 more: out of memory on cpu, 0.15 G"
    )
    assert all(text.endswith("they go on in two parts") for text in notices)
    limited = {
        record["name"].split()[1]: record for record in Results(tmp_path / "results").records()
    }
    assert limited["big"]["status"] == "failed"
    assert re.fullmatch(SAID.format("cpu", "9765.62"), limited["big"]["reason"])

    (tmp_path / "limited").unlink()
    commands.start(*run, "--results", "free", "--filter", "method=a|b|c|d")
    assert commands.end() == 0, commands.said
    for record in Results(tmp_path / "free").records():
        assert toy.numbers(record) == toy.numbers(limited[record["name"].split()[1]])


def test_lack_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**13)
    assert is_out_of_memory(caught.value)
    said = describe_oom(caught.value, torch.device("cpu"))
    assert re.fullmatch(SAID.format("cpu", "37252.90"), said)
    assert is_out_of_memory(torch.OutOfMemoryError("Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`"))
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(caught.value)


@pytest.mark.gpu
def test_a_lack_of_memory_on_a_gpu() -> None:
    device = torch.device("cuda:0")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2**42, dtype=torch.uint8, device=device)
    assert is_out_of_memory(caught.value)
    assert re.fullmatch(SAID.format("cuda:0", "4096.00"), describe_oom(caught.value, device))
