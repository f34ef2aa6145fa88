"""Part `precisions`: bf16 against float32, as `bench plan` compares them, for two pairs.

With `ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16`, oneDNN uses the instructions of a processor without AMX.
"""

from bench.precision import Comparison, compare
from tests.benchmarks.table import Row, divide
from tests.benchmarks.workload import Workload

PAIRS = (("resnet32x4", "resnet8x4"), ("wrn_40_2", "wrn_16_2"))
IMAGES = 16


def precisions(load: Workload) -> list[Row]:
    """Time the teacher's forward pass with the student's forward and backward pass."""
    rows = []
    for teacher, student in PAIRS:
        request = {
            "networks": [(teacher, ()), (student, ())], "classes": 100, "size": 32,
            "images": IMAGES, "precision": "bf16", "device": str(load.device),
            "threads": load.threads, "plugins": [], "plugins_enabled": False, "options": {},
        }  # fmt: skip
        times: list[Comparison] = [compare(request) for _ in range(load.rounds)]
        float32, bf16 = ([1000 * t.float32 / IMAGES for t in times],
                         [1000 * t.seconds / IMAGES for t in times])  # fmt: skip
        what = f"{teacher}/{student}, an image of {IMAGES}"
        rows.append(Row("precisions", f"{what}, float32", float32))
        rows.append(
            Row("precisions", f"{what}, bf16", bf16, "ms", "float32 / this", divide(float32, bf16))
        )
    return rows
