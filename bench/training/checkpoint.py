"""The state of a run under way as bytes: data, never code, and believed only as the run's own."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.optim import Optimizer

from bench.results.record import Epoch, Number
from bench.training.pretrained import LONGEST_PICKLE, ZIP, examine

LONGEST_ENTRY = 4096  # bytes of a state beside its tensors, for each epoch of the recipe
SPLITS = ("test", "validation")


class Kept(Epoch, extra="forbid"):
    """An entry of a record's curves while its run goes on: with a loss, or it would have ended."""

    loss: Number


def packed(run: str, curves: list[dict[str, Any]], **parts: Any) -> memoryview:
    """The state of a run, for `unpacked`."""
    content = io.BytesIO()
    torch.save({"run": run, "curves": curves, **parts}, content)
    return content.getbuffer()


def unpacked(saved: bytes, run: str, epochs: int, terms: Iterable[str]) -> dict[str, Any]:
    """What was packed of a run with so many epochs and these terms, on the CPU.

    It takes no more memory than it has bytes. Raises whatever there is to raise where it is
    something else, the state of another run for one; its `parts` are not looked at.
    """
    if not saved.startswith(ZIP):
        raise ValueError("it is no state")
    file = io.BytesIO(saved)
    examine(file, LONGEST_PICKLE + LONGEST_ENTRY * epochs)
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    if state["run"] != run:
        raise ValueError("it is of another run")
    curves = state["curves"]
    if not isinstance(curves, list) or not 0 < len(curves) < epochs:
        raise ValueError(f"its curves are not those of a run of {epochs} epochs under way")
    for epoch, entry in enumerate(curves, 1):
        if not _known(entry, epoch, terms):
            raise ValueError(f"its curves have no entry of epoch {epoch}")
    return state


def momentum(optimizer: Optimizer) -> list[Tensor | None]:
    """The momentum of each parameter, None before its first step."""
    held = optimizer.state
    return [held.get(p, {}).get("momentum_buffer") for p in _parameters(optimizer)]


def set_momentum(optimizer: Optimizer, saved: Sequence[Tensor | None]) -> None:
    """Go on with the momentum that was saved; raises where it is of other parameters."""
    for parameter, held in zip(_parameters(optimizer), saved, strict=True):
        if held is not None:
            own = torch.empty_like(parameter).copy_(held)
            optimizer.state[parameter]["momentum_buffer"] = own


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _known(entry: Any, epoch: int, terms: Iterable[str]) -> bool:
    """Whether this is the entry of an epoch of a run with these terms, and nothing beside it."""
    try:
        found = Kept.model_validate(entry)
    except ValidationError:
        return False
    measured = [getattr(found, split) for split in SPLITS if split in found.model_fields_set]
    return (
        found.epoch == epoch
        and found.terms.keys() == set(terms)
        and all(split.get("top1") is not None for split in measured)
    )
