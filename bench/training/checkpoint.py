"""The checkpoint of an unfinished run: one safetensors file with the run's tensors and curves.

The curves hold the numbers of each epoch, such as the loss. They are JSON in the file's metadata. A
checkpoint contains no code. `results/store.py` appends a SHA-256, which reveals damage. A run
resumes only from its own checkpoint, and only if every entry of the curves is valid.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.results.record import Epoch, Number

MAX_NAMES_BYTES = 2 * 1024**2  # limit for the tensors' names and shapes in the file's header
MAX_EPOCH_BYTES = 4096  # limit for one entry of the curves in the file's header

Parts = Mapping[str, Mapping[str, Tensor]]


class UnfinishedEpoch(Epoch, extra="forbid"):
    """An entry in the curves of an unfinished run.

    Its loss is finite, because a run ends at the first epoch with an infinite or undefined loss.
    """

    loss: Number


def encode(run: str, teacher: str, curves: Sequence[Epoch], parts: Parts) -> bytes:
    """Return the content of a run's checkpoint file.

    Args:
        run: The run's id.
        teacher: SHA-256 of the weights of the run's teacher; empty for a teacher's run.
        curves: One entry for each completed epoch.
        parts: Named groups of named tensors, such as `{"network": net.state_dict()}`.
    """
    tensors = {
        f"{part}/{name}": _on_host(value)
        for part, state in parts.items()
        for name, value in state.items()
    }
    entries = json.dumps([epoch.content for epoch in curves], allow_nan=False)
    return safetensors.torch.save(tensors, {"run": run, "teacher": teacher, "curves": entries})


def decode(
    content: bytes, run: str, teacher: str, epochs: range, terms: Mapping[bool, set[str]]
) -> tuple[list[Epoch], dict[str, dict[str, Tensor]]]:
    """Read a checkpoint that `encode` returned.

    The memory needed is proportional to the checkpoint's length.

    Args:
        content: The checkpoint.
        run: The id of the run that resumes.
        teacher: SHA-256 of the present weights of the run's teacher; empty for a teacher's run.
        epochs: Numbers of the epochs that an unfinished run can have completed. Numbers up to 0
            belong to a stage before training.
        terms: Names of the distillers that have a loss: with the key True in the stage before
            training, with the key False after this stage.

    Returns:
        The curves, and the parts that `encode` received. The names and shapes of the parts'
            tensors are not checked.

    Raises:
        ValueError: The checkpoint belongs to another run or to another teacher's weights, or the
            checkpoint is invalid.
        safetensors.SafetensorError: The content is not in safetensors format.
    """
    header_bytes = int.from_bytes(content[:8], "little")
    if header_bytes > MAX_NAMES_BYTES + MAX_EPOCH_BYTES * (len(epochs) + 1):
        raise ValueError(f"its header has {header_bytes:,} bytes, more than a run can have")
    tensors = safetensors.torch.load(content)
    metadata = json.loads(content[8 : 8 + header_bytes]).get("__metadata__", {})
    if metadata.get("run") != run:
        raise ValueError("it is the checkpoint of another run")
    if metadata.get("teacher") != teacher:
        raise ValueError("the teacher's weights have changed since the checkpoint was written")
    entries = json.loads(metadata["curves"])
    if not isinstance(entries, list) or not 0 < len(entries) <= len(epochs):
        raise ValueError(f"its curves do not fit an unfinished run of {len(epochs) + 1} epochs")
    curves = [
        _epoch(entry, number, terms[number <= 0])
        for number, entry in zip(epochs, entries, strict=False)
    ]
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = value
    return curves, parts


def check_tensors(state: Mapping[str, Any]) -> None:
    """Raise TypeError if a value in the state_dict is not a tensor."""
    for name, value in state.items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise TypeError(f"{name} in the state_dict is a {kind}; checkpoints hold only tensors")


def _on_host(value: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU; safetensors refuses tensors that share memory."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def is_evaluated(metrics: Mapping[str, float | None]) -> bool:
    """Return whether an epoch was evaluated; without labels, only the teacher is compared."""
    return metrics.get("top1", metrics.get("agreement")) is not None


def _epoch(entry: Any, number: int, terms: set[str]) -> Epoch:
    """Return an entry of the curves; raise ValueError if the entry is invalid."""
    try:
        epoch = UnfinishedEpoch.model_validate(entry)
    except ValidationError as error:
        raise ValueError(f"entry {number} of its curves is invalid") from error
    splits = {"test", "validation"} & epoch.model_fields_set
    evaluated = all(is_evaluated(getattr(epoch, split)) for split in splits)
    if epoch.epoch != number or epoch.terms.keys() != terms or not evaluated:
        raise ValueError(f"entry {number} of its curves is invalid")
    return epoch
