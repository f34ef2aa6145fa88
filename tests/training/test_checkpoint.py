"""A run resumes only from a checkpoint that the run itself could have written."""

import json
import math
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from bench.results.record import Epoch
from bench.spec import Recipe
from bench.training import optimizer as optimizers
from bench.training.checkpoint import check_tensors, decode, encode

METRICS = {"top1": 50.0, "nll": None}
ENTRY = {
    "epoch": 1, "lr": 0.1, "loss": 2.0, "terms": {"ce": 2.0, "kd": None}, "seconds": 1.0,
    "shared_seconds": 0.0, "images_per_second": 5.5, "peak_memory": 4096, "test": METRICS,
    "validation": METRICS,
}  # fmt: skip
TERMS = {False: {"kd", "ce"}}
TENSORS = {
    "network/fc.weight": torch.randn(3, 2),
    "network/steps": torch.tensor(7),
    "loss/rng": torch.arange(5, dtype=torch.uint8),
}


def entries(*more: Any) -> list[dict[str, Any]]:
    """Two epochs, of which the second was not evaluated, and more entries."""
    second = {name: value for name, value in ENTRY.items() if name not in ("test", "validation")}
    return [ENTRY, {**second, "epoch": 2}, *more]


def read(curves: Any, run: str = "a", epochs: int = 4, teacher: str = "t") -> Any:
    """Decode a checkpoint with any JSON as its curves."""
    metadata = {"run": run, "teacher": teacher, "curves": json.dumps(curves)}
    content = safetensors.torch.save(TENSORS, metadata)
    return decode(content, "a", "t", range(1, epochs), TERMS)[0]


def content_of(curves: list[Epoch]) -> list[dict[str, Any]]:
    return [epoch.content for epoch in curves]


def test_decode_returns_what_was_encoded() -> None:
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tied = torch.randn(4)
    parts = {
        "network": net.state_dict(),
        "loss": {"a/b": torch.randn(2).bfloat16(), "rng": torch.Generator().get_state()},
        "momentum": {"0": tied, "1": tied, "2": torch.empty(0), "3": torch.randn(4, 2)[:, 1]},
    }
    curves = [Epoch.model_validate(entry) for entry in entries()]
    read_curves, read_parts = decode(encode("a", "t", curves, parts), "a", "t", range(1, 4), TERMS)
    assert content_of(read_curves) == entries()
    assert read_parts.keys() == parts.keys()
    for part, state in parts.items():
        assert read_parts[part].keys() == state.keys()
        for name, value in state.items():
            assert read_parts[part][name].dtype == value.dtype
            assert torch.equal(read_parts[part][name], value)


def test_numbers_of_the_curves_are_exact() -> None:
    entry = {**ENTRY, "loss": 0.1 + 0.2, "lr": 5e-324, "seconds": 1e-17}
    assert content_of(read([entry])) == [entry]


def test_long_curves_are_read() -> None:
    curves = [{**ENTRY, "epoch": number + 1} for number in range(30_000)]
    assert content_of(read(curves, epochs=30_001)) == curves


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2}, {"epoch": 3.0}, {"epoch": "x"}, {"more": 1}, {"seconds": None},
        {"seconds": math.inf}, {"loss": "x"}, {"loss": None}, {"lr": 10**400},
        {"peak_memory": [1]}, {"terms": {"ce": 1.0}}, {"terms": {"ce": 1.0, "kd": "x"}},
        {"terms": 5}, {"test": {}}, {"test": 5}, {"test": {"top1": None}},
        {"validation": {"top1": 1.0, "nll": math.nan}},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_entry_is_refused(change: dict[str, Any]) -> None:
    assert read(entries({**ENTRY, "epoch": 3}))
    with pytest.raises(ValueError, match="entry 3 of its curves is invalid"):
        read(entries({**ENTRY, "epoch": 3, **change}))


@pytest.mark.parametrize("curves", [5, "x", None, [], {}, [{}], [[]], [5], entries() * 2])
def test_invalid_curves_are_refused(curves: Any) -> None:
    with pytest.raises(ValueError, match="its curves"):
        read(curves)


def test_checkpoint_of_another_run_is_refused() -> None:
    with pytest.raises(ValueError, match="it is the checkpoint of another run"):
        read(entries(), run="b")


@pytest.mark.case("changed-teacher")
def test_checkpoint_of_another_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="the teacher's weights have changed"):
        read(entries(), teacher="u")


def test_weights_without_metadata_are_refused() -> None:
    with pytest.raises(ValueError, match="it is the checkpoint of another run"):
        decode(safetensors.torch.save(TENSORS), "a", "t", range(1, 4), TERMS)


def test_checkpoint_of_a_finished_run_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit an unfinished run of 2 epochs"):
        read(entries(), epochs=2)


def test_checkpoint_with_a_long_header_is_refused() -> None:
    with pytest.raises(ValueError, match=r"its header has [\d,]+ bytes"):
        read(["x" * 3 * 1024**2])


RECIPES = [
    Recipe(), Recipe(optimizer="adamw"), Recipe(optimizer="lamb"), Recipe(momentum=0.0)
]  # fmt: skip


def optimizer(recipe: Recipe) -> torch.optim.Optimizer:
    """An optimiser of three parameters, of which the second has no gradient."""
    owners = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3)), torch.ones(4, 1)]
    owners[2] = nn.Parameter(owners[2])
    built = optimizers.build(recipe, None, owners, set(), fused=False, captured=False)
    for position, parameter in enumerate(optimizers.parameters(built)):
        parameter.grad = None if position == 1 else torch.randn_like(parameter)
    built.step()
    return built


@pytest.mark.parametrize("recipe", RECIPES, ids=["sgd", "adamw", "lamb", "no momentum"])
def test_state_of_an_optimizer_is_restored(recipe: Recipe) -> None:
    before, after = optimizer(recipe), optimizer(recipe)
    expected = optimizers.state(before)
    optimizers.restore(after, expected)
    restored = optimizers.state(after)
    assert {part: set(tensors) for part, tensors in restored.items()} == {
        part: set(tensors) for part, tensors in expected.items()
    }
    for part, tensors in expected.items():
        for name, value in tensors.items():
            assert torch.equal(restored[part][name], value), (part, name)


def test_momentum_has_its_own_part_with_positions_as_names() -> None:
    parts = optimizers.state(optimizer(Recipe()))
    assert parts["momentum"].keys() == {"0", "2"}
    assert parts["optimizer"] == {}
    parts = optimizers.state(optimizer(Recipe(optimizer="adamw")))
    assert parts["momentum"] == {}
    assert parts["optimizer"].keys() == {
        f"{position}.{name}" for position in (0, 2) for name in ("step", "exp_avg", "exp_avg_sq")
    }


@pytest.mark.parametrize(
    ("optimizer_name", "part", "state"),
    [
        ("sgd", "momentum", {"0": torch.ones(1)}),
        ("sgd", "momentum", {"x": torch.ones(2)}),
        ("sgd", "optimizer", {"0.exp_avg": torch.ones(2)}),
        ("adamw", "momentum", {"0": torch.ones(2)}),
        ("adamw", "optimizer", {"0.exp_avg": torch.ones(2)}),
        ("adamw", "optimizer", {"0.exp_avg": torch.ones(2), "0.exp_avg_sq": torch.ones(2),
                                "0.step": torch.ones(2)}),
        ("lamb", "optimizer", {"group.0.step": torch.ones(2)}),
    ],
)  # fmt: skip
def test_state_of_another_optimizer_is_refused(
    optimizer_name: Any, part: str, state: dict[str, Tensor]
) -> None:
    built = optimizer(Recipe(optimizer=optimizer_name))
    with pytest.raises(ValueError, match="has another shape|invalid literal|state of parameter 0"):
        optimizers.restore(built, {part: state})


def test_state_that_is_not_a_tensor_is_refused() -> None:
    check_tensors(nn.Linear(1, 1).state_dict())
    with pytest.raises(TypeError, match=r"terms\.x\._extra_state in the state_dict is a dict"):
        check_tensors({"terms.x._extra_state": {"step": 1}})
