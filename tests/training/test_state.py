"""A state is believed only if all of it is what the run itself would have written."""

import math
from typing import Any

import pytest

from bench.training.checkpoint import packed, unpacked

METRICS = {"top1": 50.0, "nll": None}
ENTRY = {
    "epoch": 1, "lr": 0.1, "loss": 2.0, "terms": {"ce": 2.0, "kd": None}, "seconds": 1.0,
    "shared_seconds": 0.0, "images_per_second": 5.5, "peak_memory": 4096, "test": METRICS,
    "validation": METRICS,
}  # fmt: skip


def entries(*changed: Any) -> list[dict[str, Any]]:
    """Two epochs, the second of which was not measured, and then what is given."""
    second = {name: value for name, value in ENTRY.items() if not isinstance(value, dict)}
    return [ENTRY, {**second, "epoch": 2, "terms": ENTRY["terms"]}, *changed]


def read(curves: Any, run: str = "a", epochs: int = 4) -> Any:
    return unpacked(bytes(packed(run, curves, more=1)), "a", epochs, ["kd", "ce"])


def test_what_was_packed_is_read() -> None:
    assert read(entries()) == {"run": "a", "curves": entries(), "more": 1}


def test_long_curves_are_read() -> None:
    """More of them than a checkpoint may have beside its tensors."""
    curves = [{**ENTRY, "epoch": number + 1} for number in range(30_000)]
    assert read(curves, epochs=30_001)["curves"] == curves


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2}, {"epoch": 3.0}, {"epoch": "x"}, {"more": 1}, {"seconds": None},
        {"seconds": math.inf}, {"loss": "x"}, {"lr": 10**400}, {"peak_memory": [1]},
        {"terms": {"ce": 1.0}}, {"terms": {"ce": 1.0, "kd": "x"}}, {"terms": 5},
        {"test": {}}, {"test": 5}, {"test": {"top1": None}}, {"test": {"top1": 1.0, 5: 1.0}},
        {"validation": {"top1": 1.0, "nll": math.nan}},
    ],
    ids=str,
)  # fmt: skip
def test_an_odd_entry_is_refused(change: dict[str, Any]) -> None:
    assert read(entries({**ENTRY, "epoch": 3}))
    with pytest.raises((ValueError, TypeError, OverflowError)):
        read(entries({**ENTRY, "epoch": 3, **change}))


@pytest.mark.parametrize("curves", [5, "x", None, [], {}, [{}], [[]], [5], entries() * 2])
def test_odd_curves_are_refused(curves: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        read(curves)


def test_the_state_of_another_run_is_refused() -> None:
    with pytest.raises(ValueError, match="it is of another run"):
        read(entries(), run="b")


def test_only_a_run_under_way_has_a_state() -> None:
    with pytest.raises(ValueError, match="not those of a run of 2 epochs under way"):
        read(entries(), epochs=2)
