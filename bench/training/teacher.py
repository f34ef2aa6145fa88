"""Teachers: read their weights, check them, and compute their features.

Checkpoints that others wrote are read as tensors, never executed, and never take more memory than
the file.
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

MAX_LISTED = 3  # tensors in an error message
MAX_PICKLE_BYTES = 4 * 1024**2  # names, shapes and settings, without the tensors' content
MAX_NAME_LENGTH = 200  # characters of a tensor's name
WRAPPERS = ("model", "state_dict", "net")  # keys under which training scripts save the state_dict

_ZIP_MAGIC = b"PK\x03\x04"  # begins a file in PyTorch's format since 1.6
_OLD_FORMAT_PICKLES = 5  # before 1.6: magic number, version, system, content, keys
_ALLOWED_GLOBALS = re.compile(  # all that a pickle of plain tensors names, as `module name`
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage"
    r"|torch (Size|device|bool|bfloat16|(float|int|uint)\d+)"
)


class Teacher:
    """A frozen network in eval mode, shared by all students of a cohort.

    Args:
        net: The network.
        data: The data set; the network is moved to its device.
        recipe: Says the precision.

    Attributes:
        net: The network.
        shapes: Shapes of its features.
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
            images: (B, 3, H, W).
            stages: Whether the features contain the stages' maps.

        Returns:
            The features in float32.
        """
        with autocast(images.device, self.recipe):
            features = self.net(images)
        return float32(features, stages=stages)


def load(network: str, facts: Facts, path: Path, registry: Registry = BUILTIN) -> nn.Module:
    """Build a network with the weights of a file.

    Args:
        network: The network's name.
        facts: Says the number of classes and the size of images.
        path: The file.
        registry: The networks of the suite.

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
    """Read the state_dict of a safetensors file or of a PyTorch checkpoint of plain tensors.

    The wrapping of RepDistiller and mdistiller, `{'model': state_dict}`, and the prefix `module.`
    of DataParallel are removed. No code in the file is executed.

    Args:
        path: The file; its format is safetensors if its suffix is `.safetensors`.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file contains more than tensors, or no state_dict.
    """
    if not path.is_file():
        raise MissingData(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with path.open("rb") as file:
            _check_pickles(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of broken files raise errors of every type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TeacherRefused(
            f"{path}: not a checkpoint of plain tensors ({reason}); "
            "save it again as {'model': net.state_dict()} or as safetensors"
        ) from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(_is_plain(*item) for item in state.items()):
        raise TeacherRefused(f"{path}: no state_dict in it, neither bare nor under {WRAPPERS}")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _check_pickles(file: BinaryIO) -> None:
    """Raise ValueError for a PyTorch file that names more than tensors, or declares too many bytes.

    The instructions of its pickles are read but not executed. `weights_only` alone would create
    objects of any size of its few allowed types, such as a bytearray of a terabyte.
    """
    for pickled in _pickles(file):
        for code, argument, _ in pickletools.genops(pickled):
            if code.name in ("GLOBAL", "INST") and not _ALLOWED_GLOBALS.fullmatch(str(argument)):
                raise ValueError(f"it names {'.'.join(str(argument).split())}")
    file.seek(0)


def _pickles(file: BinaryIO) -> Iterator[io.BytesIO]:
    """Yield the pickles of a file; the caller reads each to its end."""
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
                    raise ValueError(f"a pickle of {entry.file_size:,} bytes")
                yield io.BytesIO(archive.read(entry))


def _is_plain(name: object, value: object) -> bool:
    """Return whether this is an entry of a state_dict, with a printable name."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return name.isascii() and name.isprintable() and len(name) <= MAX_NAME_LENGTH


def _differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> str:
    """Describe how two state_dicts differ in names and shapes; empty if they do not."""
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
