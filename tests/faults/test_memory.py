"""Out of memory: a cohort is split, and a student that is too large fails alone."""

import re
from pathlib import Path

import pytest
import torch

from bench.results import Results
from bench.results.environment import describe_oom, is_out_of_memory
from tests import soak, toy
from tests.faults.commands import Commands

pytestmark = pytest.mark.slow

HOARD = '''
"""A distiller that allocates memory, and limits that of its process at the first batch."""

import resource
from pathlib import Path

import torch

from distillers import Distiller

FREE = 400 * 2**20  # bytes that the process may allocate after the first batch


class Hoard(Distiller):
    """L = 0 · z_s, with so many megabytes allocated."""

    paper = "None"
    reads = ("logits",)
    limited = False

    def __init__(self, setting, *, megabytes: int = 1) -> None:
        super().__init__(setting)
        self.megabytes = megabytes
        self.buffer = None

    def forward(self, student, teacher, batch):
        if not Hoard.limited and Path("limited").exists():
            Hoard.limited = True
            pages = int(open("/proc/self/statm").read().split()[0])
            limit = pages * resource.getpagesize() + FREE
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if self.buffer is None:
            self.buffer = torch.zeros(self.megabytes * 2**20, dtype=torch.uint8)
        return 0.0 * student.logits.mean()
'''
SMALL = ", ".join(
    f"{name}: {{ce: 1, hoard: {{weight: {weight}, megabytes: 150}}}}"
    for weight, name in enumerate("abcd", 1)
)
BIG = "big: {ce: 1, hoard: {weight: 1, megabytes: 10000000}}"
MESSAGE = r"out of memory on {}, {} GiB more were needed, [\d.]+ GiB of [\d.]+ GiB were free"


@pytest.mark.soak
@pytest.mark.parametrize("where", [("--inline",), *([("--workers", 1)] if soak.LONG else [])])
def test_cohort_is_split_until_only_the_student_that_is_too_large_fails(
    where: tuple[object, ...], commands: Commands, tmp_path: Path
) -> None:
    (tmp_path / "hoard.py").write_text(HOARD)
    toy.write(tmp_path, methods=f"{{{SMALL}, {BIG}}}", plugins="[hoard.py]")
    run = ("run", "toy.yaml", "--tracker", "none", "--json", *where)
    (tmp_path / "limited").touch()
    commands.start(*run)
    assert commands.end() == 3, commands.output
    notices = [event["text"] for event in commands.events if event["event"] == "notice"]
    assert notices[0].startswith(
        "resnet8/resnet8 a seed 0 and 4 more: out of memory on cpu, 0.15 G"
    )
    assert all(text.endswith("the runs resume as two cohorts") for text in notices)
    limited = {record.name.split()[1]: record for record in Results(tmp_path / "results").records()}
    assert limited["big"].status == "failed"
    assert re.fullmatch(MESSAGE.format("cpu", "9765.62"), str(limited["big"].reason))

    (tmp_path / "limited").unlink()
    commands.start(*run, "--results", "free", "--filter", "method=a|b|c|d")
    assert commands.end() == 0, commands.output
    for record in Results(tmp_path / "free").records():
        assert toy.numbers(record) == toy.numbers(limited[record.name.split()[1]])


def test_out_of_memory_differs_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**13)
    assert is_out_of_memory(caught.value)
    message = describe_oom(caught.value, torch.device("cpu"))
    assert re.fullmatch(MESSAGE.format("cpu", "37252.90"), message)
    assert is_out_of_memory(torch.OutOfMemoryError("Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`"))
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(caught.value)


@pytest.mark.gpu
def test_out_of_memory_on_a_gpu_is_recognised() -> None:
    device = torch.device("cuda:0")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2**42, dtype=torch.uint8, device=device)
    assert is_out_of_memory(caught.value)
    assert re.fullmatch(MESSAGE.format("cuda:0", "4096.00"), describe_oom(caught.value, device))
