"""Read files of weights that other programs wrote, without running code from the files.

The first bytes determine the format. `torch.load(weights_only=True)` reads PyTorch's pickle files.
An empty stand-in replaces each object of a class that torch refuses, such as the
`argparse.Namespace` in files of RepDistiller. Reading needs no more memory than the file has bytes.
"""

import io
import pickle
import pickletools
import re
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases
from pathlib import Path
from typing import Any, BinaryIO, Literal

import safetensors.torch
import torch
from torch.serialization import MAGIC_NUMBER

from bench.errors import MissingData, TeacherRefused

MAX_PICKLE_BYTES = 4 * 1024**2  # limit for names, shapes and settings, without numbers
Format = Literal["PyTorch", "PyTorch before 1.6", "safetensors"]

_UNTYPED = "torch.storage.UntypedStorage"
_SAVE_AGAIN = "save it again as {'model': net.state_dict()} or as safetensors"
_OLD_FORMAT_PICKLES = 5  # before 1.6: magic number, version, system, content, keys
_MAX_PROTOCOL = 2  # pickle protocol; torch.save uses 2 by default
_HEAD_BYTES = 512
_OLD_TAR_PARTS = (b"sys_info", b"storages", b"tensors", b"pickle")
_FOREIGN: tuple[tuple[bytes, str], ...] = (  # first bytes -> what the file is, and the fix
    (b"version https://git-lfs", "a Git LFS pointer, not the weights: run `git lfs pull`"),
    (b"<", "an HTML or XML page, probably the error page of a download; download the file again"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file, such as Keras writes, not a PyTorch checkpoint"),
    (b"\x93NUMPY", "a NumPy array, not a PyTorch checkpoint"),
    (b"GGUF", "a GGUF file, not a PyTorch checkpoint"),
    (b"\x08", "probably an ONNX file, not a PyTorch checkpoint"),
)
_TENSOR_GLOBALS = re.compile(  # names in a pickle that holds only tensors and settings
    r"collections\.(OrderedDict|Counter)|builtins\.(set|complex)|_codecs\.encode"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state)"
    r"|torch\._utils\._rebuild_(meta_tensor_no_storage|qtensor|sparse_tensor)"
    r"|torch\.serialization\._get_layout"
    r"|torch\.(QInt32|QInt8|QUInt8|QUInt4x2|QUInt2x4)Storage"
    r"|torch\.nn\.parameter\.Parameter"
    r"|torch\.(Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool|Complex\w+)Storage"
    r"|torch\.(Size|device|bool|bfloat16|(float|complex|int|uint|qint|quint|bits)\d+\w*)"
    r"|torch\.per_(tensor|channel)_(affine|symmetric)\w*"
)
_DATA_GLOBALS = re.compile(  # classes of Python and torch with data, replaced by stand-ins
    r"argparse\.Namespace|builtins\.(list|dict|tuple|frozenset|range|slice|object|int|float|str)"
    r"|collections\.(defaultdict|deque)|types\.SimpleNamespace"
    r"|pathlib(\._local)?\.\w*Path|datetime\.\w+|decimal\.Decimal|fractions\.Fraction|uuid\.\w+"
    r"|copyreg\._reconstructor|torch\.(nn|optim|distributed\.optim|utils)\..*"
)
_MAPPING_CLASS = re.compile(r"(Dict|dict|Box|Munch|CfgNode|Config)$")
_DAMAGED = re.compile(
    r"remain|EOF|exhausted|not a zip|central directory|truncated|^Bad", re.IGNORECASE
)
# Decoding bytes with one of these codecs could need far more memory than the file has bytes.
_BINARY_CODECS = {"base64", "bz2", "hex", "quopri", "uu", "zlib"}


@dataclass(frozen=True)
class WeightFile:
    """A file's content and format, and the classes whose objects are replaced by stand-ins."""

    path: Path
    format: Format
    content: Any
    replaced: tuple[str, ...] = ()


class Ignored:
    """Stand-in for an object that is not loaded; a stand-in does nothing and keeps nothing."""

    def __new__(cls, *_: object, **__: object) -> Any:
        """Accept all arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Drop the state."""


class IgnoredMapping(Ignored):
    """Stand-in for a subclass of dict, whose entries torch sets one by one."""

    def __new__(cls, *_: object, **__: object) -> Any:
        """Return a mapping of a class that torch can fill."""
        return OrderedDict()


def read(path: Path) -> WeightFile:
    """Read a PyTorch checkpoint or a safetensors file; the first bytes determine the format.

    Args:
        path: The file.

    Returns:
        The content, with tensors on the CPU.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is not of these formats, is damaged, or contains code.
    """
    if path.is_dir():
        raise TeacherRefused(f"{path}: a folder. Allowed: a file{_weights_in(path)}")
    if not path.is_file():
        raise MissingData(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if reason := _foreign(head):
            raise TeacherRefused(f"{path}: {reason}")
        try:
            if _is_safetensors(head):
                return WeightFile(path, "safetensors", safetensors.torch.load_file(path))
            return _read_torch(path, file, head.startswith(b"PK"))
        except TeacherRefused:
            raise
        except Exception as error:  # readers of broken files raise errors of every type
            raise TeacherRefused(f"{path}: {_reason(error, head)}") from error


def _weights_in(folder: Path) -> str:
    """Return the end of a message: the name of a file of weights in the folder, or a hint."""
    if list(folder.glob("*.index.json")):
        return "; the weights in this folder are sharded: load all shards and save one file"
    names = (
        f for end in ("safetensors", "bin", "pth", "pt", "ckpt") for f in folder.glob(f"*.{end}")
    )
    name = next(names, None)
    return f", such as {name}" if name else ""


def _foreign(head: bytes) -> str | None:
    """Return the type of a file that is not a checkpoint, and the fix; None for a checkpoint."""
    if not head:
        return "the file is empty; download or save it again"
    if _is_safetensors(head):
        return None
    if head[257:262] == b"ustar":
        is_old = head.partition(b"\0")[0] in _OLD_TAR_PARTS
        old = "a tar file of PyTorch 0.1; load the file with torch.load and save it again"
        return old if is_old else "a tar archive; unpack it first"
    text = head.lstrip()
    if text.startswith((b"{", b"[")):
        is_index = b'"weight_map"' in head or b'"total_size"' in head
        index = "JSON text, the index of a sharded checkpoint; load all shards and save one file"
        return index if is_index else "JSON text, not a checkpoint"
    return next((reason for magic, reason in _FOREIGN if text.startswith(magic)), None)


def _is_safetensors(head: bytes) -> bool:
    """Return whether a file begins with the length of a JSON header, followed by the header."""
    return head[4:9] == b"\0\0\0\0{"


def _reason(error: Exception, head: bytes) -> str:
    """Return why a file could not be read, and the fix; `head` holds the file's first bytes."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    kind = "safetensors" if _is_safetensors(head) else "PyTorch"
    if kind == "PyTorch" and not head.startswith((b"\x80", b"PK")):
        return f"not a checkpoint: neither PyTorch nor safetensors (the file begins {head[:8]!r})"
    if kind == "safetensors" or _DAMAGED.search(reason):
        return f"a {kind} file that is damaged or was cut short ({reason}); get or save it again"
    if "Weights only load failed" in reason:
        reason = str(error.__context__ or error).splitlines()[0]
    return f"not a checkpoint of plain tensors ({reason}); {_SAVE_AGAIN}"


def _read_torch(path: Path, file: BinaryIO, is_zip: bool) -> WeightFile:
    names: set[str] = set()
    for number, pickled in enumerate(_pickles(file, is_zip)):
        names |= _globals(pickled)
        if not is_zip and number == 0 and not _has_magic_number(file):
            _stand_ins(names)
            raise ValueError("a bare pickle, which torch.save did not write")
    stand_ins = _stand_ins(names)
    pairs: Any = [(class_, name) for name, class_ in stand_ins.items()]
    file.seek(0)
    with torch.serialization.safe_globals(pairs), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = torch.load(file, map_location="cpu", weights_only=True)
    format_: Format = "PyTorch" if is_zip else "PyTorch before 1.6"
    return WeightFile(path, format_, content, tuple(sorted(stand_ins)))


def _has_magic_number(file: BinaryIO) -> bool:
    """Return whether a file begins with the pickle that torch.save wrote before PyTorch 1.6."""
    magic = pickle.dumps(MAGIC_NUMBER, protocol=_MAX_PROTOCOL)
    file.seek(0)
    return file.read(len(magic)) == magic


def _stand_ins(names: Iterable[str]) -> dict[str, type[Ignored]]:
    """Return a stand-in for each class name in a pickle that torch does not load itself."""
    return {name: _stand_in(name) for name in names if not _TENSOR_GLOBALS.fullmatch(name)}


def _stand_in(name: str) -> type[Ignored]:
    """Return a stand-in for a class; raise ValueError if the name may refer to code."""
    if name == _UNTYPED:  # a pickle could make this class allocate memory without limit
        raise ValueError("the file holds tensors of float8, complex32, uint16, uint32 or uint64")
    library = name.partition(".")[0]
    is_code = library in sys.stdlib_module_names or library == "torch"
    if is_code and not _DATA_GLOBALS.fullmatch(name):
        raise ValueError(f"the file names {name}, which may run code")
    base = IgnoredMapping if _MAPPING_CLASS.search(name) else Ignored
    return type(name, (base,), {})


def _globals(pickled: io.BytesIO) -> set[str]:
    """Return the names of the classes and functions in a pickle, without executing the pickle.

    Raises ValueError if torch cannot read the pickle, or if decoding could multiply its bytes.
    """
    names, texts = set(), set()
    for code, argument, _ in pickletools.genops(pickled):
        if code.name == "PROTO" and int(argument or 0) > _MAX_PROTOCOL:
            raise ValueError(f"pickled with protocol {argument}, not {_MAX_PROTOCOL}")
        if code.name in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            module, name = NAME_MAPPING.get(
                (module, name), (IMPORT_MAPPING.get(module, module), name)
            )
            names.add(f"{module}.{name}")
        elif isinstance(argument, str):
            texts.add(argument)
    if "_codecs.encode" in names:
        codecs = {normalize_encoding(text.lower()) for text in texts if len(text) < 40}
        codecs = {aliases.get(codec, codec).removesuffix("_codec") for codec in codecs}
        if binary := codecs & _BINARY_CODECS:
            raise ValueError(f"the file contains bytes encoded as {min(binary)}")
    return names


def _pickles(file: BinaryIO, is_zip: bool) -> Iterator[io.BytesIO]:
    """Yield the pickles of a file; the caller must read each pickle to its end."""
    file.seek(0)
    head, file_bytes = file.read(MAX_PICKLE_BYTES), file.seek(0, io.SEEK_END)
    if not is_zip:
        stream = io.BytesIO(head)
        yield from [stream] * _OLD_FORMAT_PICKLES
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        _check_archive([entry.filename for entry in entries])
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > file_bytes:
            raise ValueError("the parts of the file are compressed, or larger than the file")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                if entry.file_size > MAX_PICKLE_BYTES:
                    raise ValueError(f"a pickle of {entry.file_size:,} bytes, more than 4 MiB")
                yield io.BytesIO(archive.read(entry))


def _check_archive(names: list[str]) -> None:
    """Raise ValueError for a zip archive that torch.save did not write."""
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        raise ValueError(
            "a TorchScript program: save the state_dict() of torch.jit.load(FILE) instead"
        )
    if any(end.endswith(".npy") for end in ends):
        raise ValueError("arrays of NumPy (.npz), not tensors")
    if "data.pkl" not in ends:
        kind = "a torch.export program" if "archive_format" in ends else "a zip archive"
        raise ValueError(f"{kind} without data.pkl, not written by torch.save")
