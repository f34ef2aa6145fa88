"""Files that an attacker would write: checkpoints, archives, pictures."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

HUGE = 2**30  # numbers of 4 bytes that a small file claims to hold; a machine could give them


class Payload:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return open, (str(self.mark), "w")


class Bytes:
    """An object whose pickle asks for memory, of a type that torch allows in checkpoints."""

    def __reduce__(self) -> Any:
        return bytearray, (4 * HUGE,)


class Claim:
    """A storage that claims to hold so many numbers."""

    def __init__(self, numbers: int) -> None:
        self.numbers = numbers


class Claimed:
    """A tensor in it."""

    def __init__(self, numbers: int = HUGE) -> None:
        self.storage = Claim(numbers)

    def __reduce__(self) -> Any:
        shape = (self.storage.numbers,)
        return torch._utils._rebuild_tensor_v2, (self.storage, 0, shape, (1,), False, OrderedDict())


class Claimer(pickle.Pickler):
    """Pickles a `Claim` as torch pickles a storage."""

    tail: tuple[None, ...] = ()

    def persistent_id(self, thing: Any) -> Any:
        """What stands for a storage."""
        if isinstance(thing, Claim):
            return ("storage", torch.FloatStorage, "0", "cpu", thing.numbers, *self.tail)
        return None


def pickled(thing: Any, tail: tuple[None, ...] = ()) -> bytes:
    """A pickle of torch's protocol, claims included."""
    out = io.BytesIO()
    writer = Claimer(out, protocol=2)
    writer.tail = tail
    writer.dump(thing)
    return out.getvalue()


def before_1_6(thing: Any) -> bytes:
    """A checkpoint in PyTorch's format before 1.6, with one number behind it."""
    parts = [MAGIC_NUMBER, PROTOCOL_VERSION, {"little_endian": True}]
    head = b"".join(pickled(part) for part in parts)
    body = pickled(thing, (None,)) + pickled(["0"])
    return head + body + struct.pack("<qf", HUGE, 1.0)


def since_1_6(thing: Any, compression: int = zipfile.ZIP_STORED, zeros: int = 4) -> bytes:
    """A checkpoint in PyTorch's format of today, with a storage of zeros."""
    parts = {"data.pkl": pickled(thing), "byteorder": b"little", "version": b"3\n"}
    return archive({**parts, "data/0": bytes(zeros)}, compression)


def text(content: str) -> bytes:
    """The pickle instruction that pushes a text."""
    return b"X" + struct.pack("<I", len(content)) + content.encode()


def doubled(times: int, codec: str) -> bytes:
    """A pickle that encodes 100 letters as bytes, and these so many times: each doubles them."""
    content = b"c_codecs\nencode\n" + text("a" * 100) + text("latin1") + b"\x86R"
    for _ in range(times):
        content = b"c_codecs\nencode\n" + content + text(codec) + b"\x86R"
    return b"\x80\x02}" + text("model") + content + b"s."


def number(size: int) -> bytes:
    """A pickle of one of NumPy's numbers with so many bytes, which it does not contain."""
    function = np.float64(0).__reduce__()[0]
    scalar = f"c{function.__module__}\n{function.__name__}\n".encode()
    dtype = b"cnumpy\ndtype\n" + text(f"V{size}") + b"\x85R"
    return b"\x80\x02}" + text("model") + scalar + dtype + b"\x85Rs."


def archive(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of these, all in one folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(f"archive/{name}", content)
    return out.getvalue()


def safetensors(header: Any, content: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with that header, as long as it claims to be."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def oversized() -> dict[str, bytes]:
    """Small checkpoints that claim, or unfold to, far more than they have; by file name."""
    whole = {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}
    square = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}
    zeros = 50 * 1024**2
    return {
        "claims_before.pth": before_1_6({"model": {"x": Claimed()}}),
        "claims_since.pth": since_1_6({"model": {"x": Claimed()}}),
        "bytes_before.pth": before_1_6({"model": {"x": Bytes()}}),
        "bytes_since.pth": since_1_6({"model": {"x": Bytes()}}),
        "bomb.pth": since_1_6({"x": Claimed(zeros)}, zipfile.ZIP_DEFLATED, 4 * zeros),
        "hex.pth": archive({"data.pkl": doubled(24, "hex"), "version": b"3\n"}),
        "base64.pth": archive({"data.pkl": doubled(50, "base64_codec"), "version": b"3\n"}),
        "number.pth": archive({"data.pkl": number(2 * HUGE), "version": b"3\n"}),
        "long.pth": since_1_6([{}] * 4 + [{} for _ in range(1024**2)]),
        "header.safetensors": safetensors({}, length=2**62),
        "offsets.safetensors": safetensors({"x": whole}, b"\0" * 4),
        "shape.safetensors": safetensors({"x": square}, b"\0" * 4),
    }
