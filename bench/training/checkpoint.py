"""The checkpoint of an unfinished run: one safetensors file, with the curves as JSON metadata.

A checkpoint is data and contains no code. `results/store.py` protects it by a SHA-256. A run
resumes only from its own checkpoint, and only if every entry of the curves is valid.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.optim import Optimizer

from bench.results.record import Epoch, Number

MAX_NAMES_BYTES = 2 * 1024**2  # of a header: names and shapes of all tensors
MAX_EPOCH_BYTES = 4096  # of a header: one entry of the curves

Parts = Mapping[str, Mapping[str, Tensor]]


class UnfinishedEpoch(Epoch, extra="forbid"):
    """An epoch of an unfinished run: its loss is finite, else the run would have ended."""

    loss: Number


def encode(run: str, teacher: str, curves: Sequence[Epoch], parts: Parts) -> bytes:
    """Return the checkpoint of a run.

    Args:
        run: The run's id.
        teacher: SHA-256 of the weights of the run's teacher; empty for a teacher's run.
        curves: One entry for each completed epoch.
        parts: Named sets of named tensors, such as `{"network": net.state_dict()}`.
    """
    tensors = {
        f"{part}/{name}": _on_host(value)
        for part, state in parts.items()
        for name, value in state.items()
    }
    entries = json.dumps([epoch.content for epoch in curves], allow_nan=False)
    return safetensors.torch.save(tensors, {"run": run, "teacher": teacher, "curves": entries})


def decode(
    content: bytes, run: str, teacher: str, epochs: int, terms: Iterable[str]
) -> tuple[list[Epoch], dict[str, dict[str, Tensor]]]:
    """Read a checkpoint that `encode` returned; memory is proportional to its length.

    Args:
        content: The checkpoint.
        run: The id of the run that resumes.
        teacher: SHA-256 of the weights of its teacher now; empty for a teacher's run.
        epochs: Epochs of the run's recipe.
        terms: Names of the run's distillers.

    Returns:
        The curves and the parts; the parts' names and shapes are not checked.

    Raises:
        ValueError: It belongs to another run or to other weights of the teacher, or is not valid.
        safetensors.SafetensorError: It is not in safetensors format.
    """
    header_bytes = int.from_bytes(content[:8], "little")
    if header_bytes > MAX_NAMES_BYTES + MAX_EPOCH_BYTES * epochs:
        raise ValueError(f"its header has {header_bytes:,} bytes")
    tensors = safetensors.torch.load(content)
    metadata = json.loads(content[8 : 8 + header_bytes]).get("__metadata__", {})
    if metadata.get("run") != run:
        raise ValueError("it is the checkpoint of another run")
    if metadata.get("teacher") != teacher:
        raise ValueError("the weights of its teacher have changed since")
    entries = json.loads(metadata["curves"])
    if not isinstance(entries, list) or not 0 < len(entries) < epochs:
        raise ValueError(f"its curves do not fit an unfinished run of {epochs} epochs")
    curves = [_epoch(entry, number, set(terms)) for number, entry in enumerate(entries, 1)]
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = value
    return curves, parts


def check_tensors(state: Mapping[str, Any]) -> None:
    """Raise TypeError for a state_dict that a checkpoint cannot hold."""
    for name, value in state.items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise TypeError(f"{name} in the state_dict is a {kind}; checkpoints hold only tensors")


def momentum(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the momentum of each parameter that has one, by the parameter's position."""
    states = optimizer.state_dict()["state"].items()
    buffers = {str(position): state.get("momentum_buffer") for position, state in states}
    return {position: buffer for position, buffer in buffers.items() if buffer is not None}


def set_momentum(optimizer: Optimizer, buffers: Mapping[str, Tensor]) -> None:
    """Restore the momentum; ValueError if it does not fit the parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for position, buffer in buffers.items():
        parameter = parameters[int(position)]
        if parameter.shape != buffer.shape:
            raise ValueError(f"the momentum of parameter {position} has another shape")
        optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(buffer)


def _on_host(value: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU that shares no memory, as safetensors requires."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _epoch(entry: Any, number: int, terms: set[str]) -> Epoch:
    """Validate one entry of the curves."""
    try:
        epoch = UnfinishedEpoch.model_validate(entry)
    except ValidationError as error:
        raise ValueError(f"entry {number} of its curves is invalid") from error
    splits = {"test", "validation"} & epoch.model_fields_set
    evaluated = all(getattr(epoch, split).get("top1") is not None for split in splits)
    if epoch.epoch != number or epoch.terms.keys() != terms or not evaluated:
        raise ValueError(f"entry {number} of its curves is invalid")
    return epoch
