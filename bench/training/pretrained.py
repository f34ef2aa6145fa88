"""Checkpoints from elsewhere: data, never code, and no more of it than the file has bytes."""

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from bench.errors import MissingData, TeacherRefused

LONGEST_PICKLE = 4 * 1024**2  # bytes: the names, shapes and settings of a checkpoint
LONGEST_NAME = 200  # characters of a tensor's name
ZIP = b"PK\x03\x04"  # begins a file of PyTorch's format since 1.6
WRAPPINGS = ("model", "state_dict", "net")  # where training scripts put the state_dict

_PICKLES = 5  # of PyTorch's format before 1.6: magic number, version, system, content, keys
_TENSORS = re.compile(  # all that a pickle of plain tensors names, as `module name`
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage"
    r"|torch (Size|device|bool|bfloat16|(float|int|uint)\d+)"
)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state_dict of a file: safetensors, or a PyTorch checkpoint that holds tensors only.

    RepDistiller's and mdistiller's `{'model': state_dict}` is understood, and the `module.` that
    DataParallel puts before names. Nothing in the file is executed.
    """
    if not path.is_file():
        raise MissingData(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with path.open("rb") as file:
            examine(file)
            held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of broken bytes raise whatever they come upon
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TeacherRefused(
            f"{path}: not a checkpoint of plain tensors ({reason}); "
            "save it anew as {'model': net.state_dict()} or as safetensors"
        ) from error
    for key in WRAPPINGS:
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
    if not isinstance(held, dict) or not all(_plain(*item) for item in held.items()):
        raise TeacherRefused(f"{path}: no state_dict in it, neither bare nor under {WRAPPINGS}")
    return {name.removeprefix("module."): value for name, value in held.items()}


def examine(file: BinaryIO, longest: int = LONGEST_PICKLE) -> None:
    """Raise ValueError for a PyTorch file that names more than tensors, or claims to be larger.

    `longest` are the bytes that it may have beside them. Its pickles' instructions are looked at
    without being followed, and then it stands at its beginning again. `weights_only` alone would
    make whatever is asked of the few types that it knows: a bytearray of a terabyte, for one.
    """
    for pickled in _pickles(file, longest):
        for code, argument, _ in pickletools.genops(pickled):
            if code.name in ("GLOBAL", "INST") and not _TENSORS.fullmatch(str(argument)):
                raise ValueError(f"it names {'.'.join(str(argument).split())}")
    file.seek(0)


def _pickles(file: BinaryIO, longest: int) -> Iterator[io.BytesIO]:
    """The pickles of a file, before or after PyTorch 1.6, each to be read to its end."""
    head, size = file.read(longest), file.seek(0, io.SEEK_END)
    if not head.startswith(ZIP):
        stream = io.BytesIO(head)
        yield from [stream] * _PICKLES
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > size:
            raise ValueError("its parts are compressed, or larger than the file")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                if entry.file_size > longest:
                    raise ValueError(f"{entry.file_size:,} bytes beside its tensors")
                yield io.BytesIO(archive.read(entry))


def _plain(name: object, value: object) -> bool:
    """Whether both are what a state_dict holds."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return name.isascii() and name.isprintable() and len(name) <= LONGEST_NAME
