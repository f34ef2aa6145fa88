"""The state of a run under way as bytes: data, never code, and believed only as the run's own."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.training.checkpoints import LONGEST_PICKLE, ZIP, examine

LONGEST_ENTRY = 4096  # bytes of a state beside its tensors, for each epoch of the recipe
NUMBERS = ("loss", "lr", "seconds", "shared_seconds", "images_per_second", "peak_memory")
SPLITS = ("test", "validation")


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
        if not _fits(entry, _form(entry, epoch, terms)):
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


def _form(entry: Mapping[str, Any], epoch: int, terms: Iterable[str]) -> dict[str, Any]:
    """An epoch's entry, `float` for a number and None for a number or none."""
    measured = {
        split: {**dict.fromkeys(entry[split]), "top1": float} for split in SPLITS if split in entry
    }
    numbers = dict.fromkeys(NUMBERS, float)
    return {"epoch": epoch, "terms": dict.fromkeys(terms), **numbers, **measured}


def _fits(found: object, form: object) -> bool:
    """Whether what was read has a form, and nothing that it lacks."""
    if isinstance(form, Mapping):
        if not isinstance(found, Mapping) or found.keys() != form.keys():
            return False
        return all(isinstance(name, str) and _fits(found[name], form[name]) for name in form)
    if isinstance(form, int):
        return type(found) is int and found == form
    if isinstance(found, int | float):
        return math.isfinite(found)
    return found is None is form
