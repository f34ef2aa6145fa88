"""Each part under pytest-benchmark: `pytest tests/benchmarks --benchmark-only`; tox skips them."""

from dataclasses import asdict
from typing import Any

import pytest
import torch

from tests.benchmarks.parts import PARTS, default_workload


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("part", PARTS)
def test_part(part: str, benchmark: Any) -> None:
    load = default_workload()
    torch.set_num_threads(load.threads)
    rows = benchmark.pedantic(PARTS[part], args=(load,), rounds=1)
    benchmark.extra_info["rows"] = [asdict(row) for row in rows]
