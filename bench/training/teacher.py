"""Teachers: reading and checking their weights, and computing their features.

A checkpoint file may be malicious. This module reads only tensors from the file, executes
none of its code, and needs no more memory than the file's size.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import safetensors.torch
import torch
from torch import Tensor, nn

from bench import models
from bench.data import Data, Facts
from bench.errors import MissingData, TeacherRefused
from bench.plugins import BUILTIN, Registry
from bench.spec import Recipe
from bench.training.evaluation import autocast, float32
from distillers import Features

MAX_LISTED = 3  # tensors that an error message names
MAX_PICKLE_BYTES = 4 * 1024**2  # of names, shapes and settings; other parts hold the values
MAX_NAME_LENGTH = 200  # characters of a tensor's name
WRAPPERS = ("model", "state_dict", "net")  # keys under which training scripts save the state_dict

_ZIP_MAGIC = b"PK\x03\x04"  # first bytes of a file in the format of PyTorch since 1.6
_OLD_FORMAT_PICKLES = 5  # format before 1.6: magic number, version, system, content, keys
_ALLOWED_GLOBALS = re.compile(  # classes and functions of plain tensors, as `module name`
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage"
    r"|torch (Size|device|bool|bfloat16|(float|int|uint)\d+)"
)


class Teacher:
    """A frozen network in eval mode, shared by all students of a cohort.

    Args:
        net: The network.
        data: The data set. The network is moved to the data set's device.
        recipe: The training settings; only the precision is used.

    Attributes:
        net: The network.
        shapes: Shapes of the network's features.
    """

    def __init__(self, net: nn.Module, data: Data, recipe: Recipe) -> None:
        self.shapes = models.shapes(net, data.facts.size)
        net = net.to(data.train_labels.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net.eval().requires_grad_(False)
        self.recipe = recipe

    @torch.no_grad()
    def __call__(self, images: Tensor, stages: bool = True) -> Features:
        """Compute the features of a batch.

        Args:
            images: The batch's images, (B, 3, H, W).
            stages: Whether the features contain the stages' maps.

        Returns:
            The features in float32.
        """
        with autocast(images.device, self.recipe):
            features = self.net(images)
        return float32(features, stages=stages)


def load(network: str, facts: Facts, path: Path, registry: Registry = BUILTIN) -> nn.Module:
    """Build a network and load its weights from a file.

    Args:
        network: The network's name.
        facts: Facts of the data set; the number of classes and the image size are used.
        path: The file with the weights.
        registry: The networks that the suite can use, by name.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is not a checkpoint of this network.
    """
    net = registry.build_network(network, facts.classes, facts.size)
    state = read_state(path)
    if differences := _differences(net.state_dict(), state):
        raise TeacherRefused(f"{path}: not a {network} of {facts.classes} classes: {differences}")
    net.load_state_dict(state)
    return net


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the state_dict from a safetensors file, or from a PyTorch file with only tensors.

    In a PyTorch file, RepDistiller and mdistiller wrap the state_dict as `{'model': state_dict}`,
    and DataParallel adds the prefix `module.` to each name. The wrapper and the prefix are removed.
    Code in the file is not executed.

    Args:
        path: The file. The suffix `.safetensors` means the safetensors format; any other suffix
            means PyTorch's format.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is damaged, contains other objects than tensors, or has no
            state_dict.
    """
    if not path.is_file():
        raise MissingData(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with path.open("rb") as file:
            _check_pickles(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise any type of error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TeacherRefused(
            f"{path}: not a checkpoint of plain tensors ({reason}); "
            "save it again as {'model': net.state_dict()} or as safetensors"
        ) from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(_is_plain(*item) for item in state.items()):
        raise TeacherRefused(f"{path}: no state_dict in it, at the top level or under {WRAPPERS}")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _check_pickles(file: BinaryIO) -> None:
    """Raise ValueError for a PyTorch file that could run code or exhaust the memory.

    The pickles in the file may refer only to the classes and functions of plain tensors. Their
    instructions are read but not executed. `torch.load(weights_only=True)` alone does not limit
    the memory: it would create a bytearray of a terabyte, for example.
    """
    for pickled in _pickles(file):
        for code, argument, _ in pickletools.genops(pickled):
            if code.name in ("GLOBAL", "INST") and not _ALLOWED_GLOBALS.fullmatch(str(argument)):
                raise ValueError(f"it refers to {'.'.join(str(argument).split())}")
    file.seek(0)


def _pickles(file: BinaryIO) -> Iterator[io.BytesIO]:
    """Yield the pickles of a PyTorch file; the caller must read each pickle to its end.

    In the format before 1.6, the pickles follow one another in one stream.
    """
    head, file_bytes = file.read(MAX_PICKLE_BYTES), file.seek(0, io.SEEK_END)
    if not head.startswith(_ZIP_MAGIC):
        stream = io.BytesIO(head)
        yield from [stream] * _OLD_FORMAT_PICKLES
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > file_bytes:
            raise ValueError("its parts are compressed, or larger than the file")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                if entry.file_size > MAX_PICKLE_BYTES:
                    raise ValueError(f"it contains a pickle of {entry.file_size:,} bytes")
                yield io.BytesIO(archive.read(entry))


def _is_plain(name: object, value: object) -> bool:
    """Return whether this is a tensor with a short printable name, as in a state_dict."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return name.isascii() and name.isprintable() and len(name) <= MAX_NAME_LENGTH


def _differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> str:
    """Return how two state_dicts differ in names and shapes; '' if they do not differ."""
    states = [
        [f"{name} {tuple(value.shape)}" for name, value in state.items()]
        for state in (expected, actual)
    ]
    missing = [tensor for tensor in states[0] if tensor not in states[1]]
    unexpected = [tensor for tensor in states[1] if tensor not in states[0]]
    groups = {"missing": missing, "unexpected": unexpected}
    return "; ".join(_listed(label, tensors) for label, tensors in groups.items() if tensors)


def _listed(label: str, names: list[str]) -> str:
    rest = len(names) - MAX_LISTED
    return f"{label} {', '.join(names[:MAX_LISTED])}" + (f" and {rest} more" if rest > 0 else "")
