"""Records as a worker writes them, without a training."""

from typing import Any

from bench.results.record import Record

ENVIRONMENT = {"torch": "2.15.0", "device": "CPU x, 2 cores", "precision": "float32"}
TEACHER = {"id": "t", "network": "resnet8x4", "sha256": "7e" * 32, "top1": 98.0}


def make_record(run: str, seed: int = 0, *, kind: str = "student", **fields: Any) -> Record:
    """A finished record, some of its fields replaced; `specification` replaces keys of it."""
    student = {"teacher": "t", "method": {"ce": {"weight": 1.0, "options": {}}}}
    specification = {"network": "resnet8", "seed": seed, **(student if kind == "student" else {})}
    content = {
        "id": run,
        "kind": kind,
        "status": "done",
        "reason": None,
        "name": f"{run} seed {seed}",
        "seed": seed,
        "network": {"name": "resnet8", "parameters": 78042, "multiply_adds": 781952},
        "teacher": TEACHER if kind == "student" else None,
        "weights": None,
        "metrics": {},
        "curves": [],
        "environment": ENVIRONMENT,
        "started": None,
        "finished": None,
        "seconds": 12.5,
        **fields,
        "specification": {**specification, **fields.get("specification", {})},
    }
    return Record.model_validate(content, strict=False)


def make_epoch(number: int, **fields: Any) -> dict[str, Any]:
    """An epoch of the curves, some of its fields replaced."""
    return {
        "epoch": number, "lr": 0.05, "loss": 4 / number, "terms": {}, "seconds": 1.0,
        "shared_seconds": 0.25, "images_per_second": 5000.0, "peak_memory": 0, **fields,
    }  # fmt: skip
