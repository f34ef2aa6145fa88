"""Weights that others trained: files of PyTorch and safetensors, fitted to a network.

A file is read as data: no code in it is executed, and it never takes more memory than its bytes.
The weights may lie in any container of the file and have any prefix, as long as exactly one set of
tensors fits the network.
"""

import argparse
import io
import pickletools
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from bench.errors import MissingData, TeacherRefused
from bench.models.wrapper import FeatureExtractor

MAX_LISTED = 3  # tensors in an error message
MAX_PICKLE_BYTES = 4 * 1024**2  # names, shapes and settings, without the tensors' content
MAX_NAME_LENGTH = 200  # characters of a tensor's name
MAX_DEPTH = 5  # of containers in containers
MAX_PREFIXES = 20  # that are tried, the commonest first
OPTIONAL = ("num_batches_tracked",)  # missing in files from before PyTorch 0.4.1
IGNORED = ("total_ops", "total_params", "n_averaged")  # of thop, and of averaged models

_ZIP_MAGIC = b"PK\x03\x04"  # begins a file in PyTorch's format since 1.6
_OLD_FORMAT_PICKLES = 5  # before 1.6: magic number, version, system, content, keys
_SAFE_TYPES = [argparse.Namespace, np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.int64))]
_ALLOWED_GLOBALS = re.compile(  # all that a pickle of tensors and settings names: `module name`
    r"collections (OrderedDict|Counter|defaultdict)"
    r"|(builtins|__builtin__) (set|frozenset|dict|list|int|float|complex|slice)"
    r"|argparse Namespace"
    r"|numpy(\._?core)?(\.multiarray)? (scalar|dtype)|numpy\.dtypes (Float|Int)64DType"
    r"|_codecs encode"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage"
    r"|torch (Size|device|bool|bfloat16|(float|int|uint)\d+)"
)
_NOT_WEIGHTS = {  # how other files begin that are saved under the name of a checkpoint
    b"version https://git-lfs": "a Git LFS pointer: run `git lfs pull` to get the weights",
    b"<": "an HTML or XML page: download the file itself",
    b"{": "JSON text. Allowed: one file with all weights",
}


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        path: The file.
        format: `safetensors` or `PyTorch`.
        containers: Tensors by name, by their place in the file, such as `model`; the place of
            tensors at the top is empty.
        others: Top-level entries without tensors.
    """

    path: Path
    format: str
    containers: Mapping[str, Mapping[str, Tensor]]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Fit:
    """The tensors of a file that fit a network.

    Attributes:
        state: Tensors by the network's own names.
        place: Their container in the file; empty at the top.
        prefix: The prefix that was removed from their names.
        note: A sentence about the choice between averaged (EMA) and plain weights; None: no choice.
    """

    state: dict[str, Tensor]
    place: str
    prefix: str
    note: str | None = None


def read(path: Path) -> Contents:
    """Read a file of weights; its content determines its format.

    Args:
        path: The file.

    Returns:
        All sets of tensors in it, on the CPU.

    Raises:
        MissingData: The file does not exist.
        TeacherRefused: The file is something else, is damaged, or contains pickled objects.
    """
    if not path.is_file():
        raise MissingData(f"{path}: no such checkpoint")
    try:
        with path.open("rb") as file:
            head = file.read(32)
            problem = next((text for key, text in _NOT_WEIGHTS.items() if head.startswith(key)), "")
            if problem or not head:
                raise ValueError(problem or "the file is empty")
            file.seek(0)
            if path.suffix == ".safetensors" or head[8:9] == b"{":
                return Contents(path, "safetensors", {"": safetensors.torch.load_file(path)}, ())
            _check_pickles(file)
            with torch.serialization.safe_globals([*_SAFE_TYPES, *_numpy_scalar()]):
                content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of broken files raise errors of every type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TeacherRefused(
            f"{path}: not a checkpoint of plain tensors ({reason}); "
            "save it again as {'model': net.state_dict()} or as safetensors"
        ) from error
    containers = dict(_containers(content, (), path))
    if not containers:
        raise TeacherRefused(f"{path}: no state_dict in it, at any level")
    is_mapping = isinstance(content, Mapping)
    tops = {place.partition(".")[0] for place in containers}
    others = (
        [str(k) for k in content if str(k) not in tops] if is_mapping and "" not in tops else ()
    )
    return Contents(path, "PyTorch", containers, tuple(others))


def fit(contents: Contents, network: nn.Module, name: str) -> Fit:
    """Find the one set of tensors that fits a network.

    Names fit after removing a prefix that all of the network's tensors have. Of averaged (EMA) and
    plain weights, the averaged ones are taken, as timm does.

    Args:
        contents: The file.
        network: The network, also on the meta device.
        name: The network's name in messages, such as `a resnet8 of 10 classes`.

    Raises:
        TeacherRefused: No set fits, or several different sets do.
    """
    if isinstance(network, FeatureExtractor):
        network = network.network
    expected = network.state_dict()
    fits: list[Fit] = []
    closest: tuple[int, str] | None = None
    for place, tensors in contents.containers.items():
        for prefix in prefixes(expected, tensors):
            state = {
                key.removeprefix(prefix): value
                for key, value in tensors.items()
                if key.startswith(prefix) and key.rpartition(".")[2] not in IGNORED
            }
            rest = [key for key in tensors if not key.startswith(prefix)]
            if not (problem := differences(expected, state)):
                fits.append(Fit(state, place, prefix))
                continue
            hits = sum(k in state and state[k].shape == v.shape for k, v in expected.items())
            if closest is None or hits - len(rest) > closest[0]:
                closest = hits - len(rest), problem
    if not fits:
        raise TeacherRefused(f"{contents.path}: not {name}: {closest[1] if closest else 'empty'}")
    return _choose(contents.path, fits, expected)


def prefixes(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the prefixes with which names of a file end in names of a network; '' first."""
    counts: Counter[str] = Counter()
    tails = {name.rpartition(".")[2] for name in expected}
    for name in tensors:
        parts = name.split(".")
        if parts[-1] in tails:
            for index in range(1, len(parts)):
                if ".".join(parts[index:]) in expected:
                    counts[".".join(parts[:index]) + "."] += 1
    return ["", *(prefix for prefix, _ in counts.most_common(MAX_PREFIXES))]


def load_into(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the tensors of a `Fit`; absent counters of batch norms keep their value."""
    inner = network.network if isinstance(network, FeatureExtractor) else network
    inner.load_state_dict({**inner.state_dict(), **state})


def differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> str:
    """Describe how a state_dict differs in names and shapes from a network's; '' if it fits."""
    missing = [
        f"{name} {tuple(value.shape)}"
        for name, value in expected.items()
        if (name not in actual and name.rpartition(".")[2] not in OPTIONAL)
        or (name in actual and actual[name].shape != value.shape)
    ]
    unexpected = [
        f"{name} {tuple(value.shape)}"
        for name, value in actual.items()
        if name not in expected or expected[name].shape != value.shape
    ]
    groups = {"missing": missing, "unexpected": unexpected}
    return "; ".join(_listed(label, tensors) for label, tensors in groups.items() if tensors)


def _choose(path: Path, fits: Sequence[Fit], expected: Mapping[str, Tensor]) -> Fit:
    """Return the fit to use: the only one, one of equal ones, or the only averaged one."""
    different: list[Fit] = []
    for fit in fits:
        if not any(_equal(fit.state, other.state) for other in different):
            different.append(fit)
    if len(different) == 1:
        return different[0]
    averaged = [fit for fit in different if "ema" in f"{fit.place}.{fit.prefix}".lower()]
    names = ", ".join(f"'{describe(fit)}'" for fit in different)
    if len(averaged) == 1:
        (fit,) = averaged
        note = f"{path}: {names} fit; the averaged weights '{describe(fit)}' are used"
        return Fit(fit.state, fit.place, fit.prefix, note)
    raise TeacherRefused(
        f"{path}: several sets of tensors fit: {names}. Allowed: a file in which one of them fits"
    )


def describe(fit: Fit) -> str:
    """Return the container and the prefix of a fit, such as `state_dict: model.*`."""
    where = fit.place or "the file itself"
    return f"{where}: {fit.prefix}*" if fit.prefix else where


def _equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _containers(
    content: Any, place: tuple[str, ...], path: Path
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield place and tensors of each mapping with tensors as values, at any level."""
    if isinstance(content, argparse.Namespace):
        content = vars(content)
    if not isinstance(content, Mapping) or len(place) > MAX_DEPTH:
        return
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors and all(map(_is_plain, tensors)) and all(isinstance(key, str) for key in content):
        yield ".".join(place), tensors
    for name, value in content.items():
        if isinstance(name, str) and _is_plain(name):
            yield from _containers(value, (*place, name), path)


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable() and len(name) <= MAX_NAME_LENGTH


def _numpy_scalar() -> list[Any]:
    """Return numpy's function that unpickles a number, such as a best accuracy."""
    return [np.float64(0).__reduce__()[0]]


def _check_pickles(file: BinaryIO) -> None:
    """Raise ValueError for a PyTorch file that names objects, or declares too many bytes.

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
        if any(entry.filename.endswith("constants.pkl") for entry in entries):
            raise ValueError("a TorchScript program")
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > file_bytes:
            raise ValueError("its parts are compressed, or larger than the file")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                if entry.file_size > MAX_PICKLE_BYTES:
                    raise ValueError(f"a pickle of {entry.file_size:,} bytes")
                yield io.BytesIO(archive.read(entry))


def _listed(label: str, names: Sequence[str]) -> str:
    rest = len(names) - MAX_LISTED
    return f"{label} {', '.join(names[:MAX_LISTED])}" + (f" and {rest} more" if rest > 0 else "")
